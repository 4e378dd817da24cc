//! `export`: a model in published form, or an adapter by itself, in a new folder.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use paligemma::{
    Architecture, ColPali, DeviceSpec, DeviceWork, Error as ModelError, Model, NnBackend, Place,
    Projections,
};
use paligemma_checkpoint::{
    AdapterFile, Checkpoint, Export as What, Format, Progress, WeightType, export, write_files,
};

use crate::args::Threads;
use crate::bar::Bar;
use crate::error::Error;
use crate::model::ModelName;

/// A model to export.
#[derive(Args, Debug)]
pub(crate) struct Export {
    #[command(flatten)]
    model: ModelName,
    /// Add the adapter to the weights of its base, instead of copying it alone
    #[arg(long)]
    merge: bool,
    /// The type of the weights; that of the checkpoint if not given
    #[arg(long)]
    dtype: Option<WeightsType>,
    /// The new folder to write
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    #[command(flatten)]
    threads: Threads,
}

/// Types that published checkpoints have.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum WeightsType {
    F32,
    F16,
    Bf16,
}

impl From<WeightsType> for WeightType {
    fn from(dtype: WeightsType) -> Self {
        match dtype {
            WeightsType::F32 => Self::F32,
            WeightsType::F16 => Self::F16,
            WeightsType::Bf16 => Self::BF16,
        }
    }
}

impl Export {
    /// Exports a model, after all of its files were found sound.
    pub(crate) fn run(self) -> Result<(), Error> {
        self.threads.start()?;
        let place = self.model.locate()?;
        match place.adapter() {
            None if self.merge => return Err(Error::NothingToMerge { model: place.to_string() }),
            Some(adapter) if !self.merge => return self.copy(adapter),
            _ => {}
        }
        write(&place, Format::Safetensors, self.dtype.map(WeightType::from), &self.out)
    }

    fn copy(&self, adapter: &AdapterFile) -> Result<(), Error> {
        if self.dtype.is_some() {
            return Err(Error::AdapterDtype);
        }
        let files = adapter.files().map_err(ModelError::from)?;
        Ok(write_files(&self.out, &files)?)
    }
}

/// Writes a model, its adapter merged if it has one, after all of its files were found sound.
pub(super) fn write(
    place: &Place,
    format: Format,
    dtype: Option<WeightType>,
    folder: &Path,
) -> Result<(), Error> {
    let architecture = &place.architecture()?;
    place.tokenizer(architecture.vlm()).map_err(ModelError::from)?;
    let checkpoint = &place.checkpoint().map_err(ModelError::from)?;
    let work = Work { place, architecture, checkpoint, format, dtype, folder };
    // Tensors are added up one by one, so no GPU is opened unless the build has nothing else.
    let device = DeviceSpec::Flex.resolve().unwrap_or(DeviceSpec::Auto);
    device.run(work).map_err(ModelError::from)?
}

/// Exports by the names and shapes of a model on any backend.
struct Work<'a> {
    place: &'a Place,
    architecture: &'a Architecture,
    checkpoint: &'a Checkpoint,
    format: Format,
    dtype: Option<WeightType>,
    folder: &'a Path,
}

impl DeviceWork for Work<'_> {
    type Output = Result<(), Error>;

    fn run<B: NnBackend>(self, device: B::Device) -> Self::Output {
        match self.architecture {
            Architecture::PaliGemma(config) => {
                self.write(Model::<B>::new(&config.vision, &config.text, &device))
            }
            Architecture::ColPali(config) => self.write(ColPali::<B>::new(config, &device)),
        }
    }
}

impl Work<'_> {
    fn write<B: NnBackend, M: Projections<B>>(self, model: M) -> Result<(), Error> {
        let Self { place, architecture, checkpoint, format, dtype, folder } = self;
        let config = architecture.vlm();
        let others = place.other_files(config).map_err(ModelError::from)?;
        let bar = Bar::new("weights");
        let show = |Progress { done, total, .. }: Progress<'_>| bar.show(done, total);
        let what = What { adapter: place.adapter(), dtype, format, config, others: &others };
        export(model, checkpoint, what, folder, show)?;
        bar.finish();
        Ok(())
    }
}
