//! `import`: examples made of what other programs keep.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use paligemma::{DeviceSpec, MaskModel};
use paligemma_data::{
    CocoOptions, Imported, Skip, TableOptions, YoloOptions, import_coco, import_coco_masks,
    import_csv, import_folders, import_parquet, import_yolo, write_jsonl,
};

use crate::args::{JsonArgs, Threads};
use crate::error::Error;
use crate::model::ModelName;
use crate::{files, output, wire};

/// Data to import.
#[derive(Args, Debug)]
pub(crate) struct Import {
    #[command(subcommand)]
    kind: Kind,
}

/// What keeps it.
#[derive(Debug, Subcommand)]
enum Kind {
    /// Boxes of COCO's annotations: rows `detect a ; b`
    Coco(Coco),
    /// Outlines and masks of COCO's annotations: rows `segment a ; b`
    CocoMasks(CocoMasks),
    /// A YOLO folder with images, labels and data.yaml: rows `detect a ; b`
    Yolo(Yolo),
    /// A table as text, .csv or .tsv
    Csv(Table),
    /// A table in Parquet, or a folder of them, with pictures by name or inside
    Parquet(Table),
    /// A folder for each class, with its pictures
    Folders(Folders),
}

/// Where rows go, and what is said of them.
#[derive(Args, Debug)]
struct Out {
    /// The JSON lines to write
    #[arg(long, value_name = "JSONL")]
    out: PathBuf,
    #[command(flatten)]
    json: JsonArgs,
}

/// How boxes become rows.
#[derive(Args, Debug)]
struct Boxes {
    /// Ask for every class in every picture, not only for those that are in it
    #[arg(long)]
    every_class: bool,
    /// Leave out what no answer can express: crowds, degenerate or empty; may be repeated
    #[arg(long, value_name = "WHAT")]
    skip: Vec<Skip>,
}

#[derive(Args, Debug)]
struct Coco {
    /// The file of annotations
    source: PathBuf,
    /// The folder of the pictures, if it is not that of the annotations
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    #[command(flatten)]
    boxes: Boxes,
    #[command(flatten)]
    out: Out,
}

#[derive(Args, Debug)]
struct CocoMasks {
    #[command(flatten)]
    coco: Coco,
    #[command(flatten)]
    model: ModelName,
    /// The mask VQ-VAE, .npz or .safetensors, if it is not in the model's folder
    #[arg(long, value_name = "FILE")]
    mask_model: Option<PathBuf>,
    /// auto, flex, ndarray, wgpu, cuda or cuda:N
    #[arg(long, default_value_t)]
    device: DeviceSpec,
    #[command(flatten)]
    threads: Threads,
}

#[derive(Args, Debug)]
struct Yolo {
    /// The folder
    source: PathBuf,
    /// The part of the data, such as train: images/train or train/images
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    #[command(flatten)]
    boxes: Boxes,
    #[command(flatten)]
    out: Out,
}

#[derive(Args, Debug)]
struct Table {
    /// The table
    source: PathBuf,
    /// The column of pictures
    #[arg(long, value_name = "NAME", default_value = "image")]
    image_column: String,
    /// The column of prefixes
    #[arg(long, value_name = "NAME", default_value = "prefix")]
    prefix_column: String,
    /// The column of suffixes
    #[arg(long, value_name = "NAME", default_value = "suffix")]
    suffix_column: String,
    /// One prefix for all rows, instead of a column
    #[arg(long, value_name = "PROMPT", conflicts_with = "prefix_column")]
    prefix: Option<String>,
    #[command(flatten)]
    out: Out,
}

#[derive(Args, Debug)]
struct Folders {
    /// The folder of the classes
    source: PathBuf,
    /// What is asked about every picture
    #[arg(long, value_name = "PROMPT", default_value_t = paligemma::Classify::default().template)]
    prefix: String,
    #[command(flatten)]
    out: Out,
}

impl Import {
    /// Writes the rows if all of them are sound.
    pub(crate) fn run(self) -> Result<(), Error> {
        match self.kind {
            Kind::Coco(Coco { source, images, boxes, out }) => {
                out.write(|_| Ok(import_coco(&source, &boxes.of_coco(images))?))
            }
            Kind::CocoMasks(verb) => verb.run(),
            Kind::Yolo(Yolo { source, split, boxes, out }) => {
                let Boxes { every_class, skip } = boxes;
                let options = YoloOptions { split, every_class, skip };
                out.write(|_| Ok(import_yolo(&source, &options)?))
            }
            Kind::Csv(table) => {
                let options = table.options();
                table.out.write(|_| Ok(import_csv(&table.source, &options)?))
            }
            Kind::Parquet(table) => {
                let options = table.options();
                // Pictures inside the table come to lie beside the rows.
                let inside = |out: &Path| out.with_extension("images");
                table.out.write(|out| Ok(import_parquet(&table.source, &options, &inside(out))?))
            }
            Kind::Folders(Folders { source, prefix, out }) => {
                out.write(|_| Ok(import_folders(&source, &prefix)?))
            }
        }
    }
}

impl CocoMasks {
    fn run(self) -> Result<(), Error> {
        self.threads.start()?;
        let device = self.device.resolve().map_err(paligemma::Error::from)?;
        let masks = match &self.mask_model {
            Some(path) => MaskModel::load(path, device),
            None => self.model.locate()?.open_masks(device),
        };
        let masks = masks?;
        let Coco { source, images, boxes, out } = self.coco;
        let mut encode = |drawn: &[Vec<f32>]| masks.encode(drawn);
        out.write(|_| Ok(import_coco_masks(&source, &boxes.of_coco(images), &mut encode)?))
    }
}

impl Boxes {
    fn of_coco(self, images: Option<PathBuf>) -> CocoOptions {
        CocoOptions { images, every_class: self.every_class, skip: self.skip }
    }
}

impl Table {
    fn options(&self) -> TableOptions {
        TableOptions {
            image: self.image_column.clone(),
            prefix: self.prefix_column.clone(),
            suffix: self.suffix_column.clone(),
            same_prefix: self.prefix.clone(),
        }
    }
}

impl Out {
    /// Writes what is imported, and says how much it is.
    fn write(&self, import: impl FnOnce(&Path) -> Result<Imported, Error>) -> Result<(), Error> {
        files::check_folder(&self.out)?;
        let Imported { examples, left_out } = import(&self.out)?;
        write_jsonl(&self.out, &examples)?;
        if self.json.json {
            return output::json(&wire::Import::new(examples.len(), &left_out));
        }
        let plural = if examples.len() == 1 { "" } else { "s" };
        let written = format!("{}: {} example{plural}\n", self.out.display(), examples.len());
        let left_out = left_out.iter().map(|(what, count)| format!("left out: {count} {what}\n"));
        output::text(&left_out.fold(written, |text, line| text + &line))
    }
}
