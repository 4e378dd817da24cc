//! `classify`: which of the given labels is the likeliest answer.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use paligemma::Label;

use crate::args::{JsonArgs, ModelArgs};
use crate::error::Error;
use crate::pictures::Outcome;
use crate::{output, pictures, wire};

/// Labels to weigh for pictures.
#[derive(Args, Debug)]
pub(crate) struct Classify {
    /// The pictures, each on its own
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// A label; may be given many times
    #[arg(long = "label", required_unless_present = "labels_file")]
    labels: Vec<String>,
    /// A text file with a label on each line
    #[arg(long, value_name = "FILE")]
    labels_file: Option<PathBuf>,
    /// The prompt that a label answers, as the model was trained on it. The embedded model was never
    /// asked this one: give it questions such as "answer en what color is the star?"
    #[arg(long, value_name = "PROMPT", default_value_t = paligemma::Classify::default().template)]
    template: String,
    /// Weigh labels per token, so that long ones are no less likely for their length
    #[arg(long)]
    normalise: bool,
    /// Weigh labels by how much likelier the picture makes them than the prompt alone
    #[arg(long)]
    calibrated: bool,
    /// Show the N likeliest labels only
    #[arg(long, value_name = "N")]
    top: Option<NonZeroUsize>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl Classify {
    /// Weighs the labels for each picture, likeliest first.
    pub(crate) fn run(self) -> Result<(), Error> {
        let mut labels = self.labels;
        if let Some(path) = self.labels_file {
            let text = std::fs::read_to_string(&path);
            let text = text.map_err(|source| Error::Read { path, source })?;
            // Some editors begin a file with a mark of its encoding.
            let text = text.trim_start_matches('\u{feff}');
            labels.extend(text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned));
        }
        let how = paligemma::Classify {
            template: self.template,
            normalised: self.normalise,
            calibrated: self.calibrated,
        };
        let model = pictures::open_model(&self.images, &self.model)?;
        let classifier = model.classifier(&labels, &how)?;
        let all = pictures::each(&self.images, |path| {
            let mut labels = classifier.classify(&pictures::encode(&model, path)?)?;
            labels.truncate(self.top.map_or(usize::MAX, NonZeroUsize::get));
            Ok(labels)
        })?;
        if self.json.json {
            output::json(&wire::Classes::new(&all))?;
        } else {
            show(&all)?;
        }
        pictures::conclude(&all)
    }
}

fn show(all: &[Outcome<Vec<Label>>]) -> Result<(), Error> {
    let labels = all
        .iter()
        .flat_map(|(picture, labels)| labels.iter().flatten().map(move |label| (picture, label)));
    let row = |(picture, label): (&String, &Label)| {
        [format!("{:.4}", label.probability), label.text.clone(), picture.clone()]
    };
    output::table_of(["probability", "label", "picture"], labels.map(row))
}
