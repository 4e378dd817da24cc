//! `eval`: how well a model answers data, by the metric of its task.

mod compare;
pub(super) mod judged;
mod page;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use paligemma::{Answer, PaliGemma};
use paligemma_data::Example;
use paligemma_metrics::{Metric, Report};

use crate::args::{AnswerArgs, ModelArgs};
use crate::bar::Bar;
use crate::error::Error;
use crate::files::OutFolder;
use crate::{output, wire};
use judged::Judged;

/// Data to answer, and the metric to compare by.
#[derive(Args, Debug)]
pub(crate) struct Eval {
    /// Rows such as {"image": "a.png", "prefix": "answer en is it day?", "suffix": "yes"}, with
    /// "references": [..] where several answers are right
    #[arg(long, value_name = "JSONL")]
    data: PathBuf,
    /// exact, exact-lower, vqa, vqa-any-three, anls, relaxed, cider, bleu4, miou, box-accuracy, map or
    /// accuracy
    #[arg(long)]
    metric: Metric,
    /// A folder for all answers, eval.json, and a page of the worst with their pictures, worst.html
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How many rows are answered together
    #[arg(long, value_name = "N", default_value = "8")]
    batch_size: NonZeroUsize,
    /// The mask VQ-VAE, .npz or .safetensors, if it is not in the model's folder
    #[arg(long, value_name = "FILE")]
    mask_model: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    answer: AnswerArgs,
}

/// What was measured.
pub(crate) struct Measured<'a> {
    pub(crate) examples: &'a [Example],
    pub(crate) answers: Vec<Answer>,
    pub(crate) report: Report,
    /// How long the answers took.
    pub(crate) time: Duration,
}

/// Classes of which a table is still read at a glance.
const MOST_CLASSES: usize = 12;

impl Eval {
    /// What can be known without the model is asked before it is opened; files are written before
    /// anything is printed.
    pub(crate) fn run(self) -> Result<(), Error> {
        let options = self.answer.options()?;
        let out = self.out.clone().map(OutFolder::new).transpose()?;
        self.model.begin()?;
        let judged = Judged::read(&self.data, self.metric)?;
        let model = self.open()?;
        judged.suits(&model)?;
        let measured =
            judged.measure(&model, options, self.batch_size.get(), Bar::of_items("rows"))?;
        if let Some(out) = out {
            write(&out, &measured)?;
        }
        if self.answer.json.json {
            return output::json(&wire::Eval::new(&measured));
        }
        table(&measured)
    }

    /// The model, with masks where the metric compares them.
    fn open(&self) -> Result<PaliGemma, Error> {
        let model = self.model.open(&self.model.locate()?)?;
        Ok(match &self.mask_model {
            Some(path) => model.with_masks(path)?,
            None => model,
        })
    }
}

fn write(out: &OutFolder, measured: &Measured<'_>) -> Result<(), Error> {
    let folder = out.make()?;
    let json = serde_json::to_vec_pretty(&wire::EvalFile::new(measured));
    let json = json.map_err(std::io::Error::from)?;
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        paligemma_files::write(&path, bytes).map_err(|source| Error::Write { path, source })
    };
    put("worst.html", page::worst(measured).as_bytes())?;
    put("eval.json", &json)
}

/// The summary, the figures beside it, and what was taken for what.
fn table(measured: &Measured<'_>) -> Result<(), Error> {
    let Measured { report, examples, time, .. } = measured;
    let seconds = time.as_secs_f64();
    let pace = examples.len() as f64 / seconds.max(f64::EPSILON);
    let mut rows = vec![[report.metric.to_string(), format!("{:.4}", report.summary)]];
    rows.extend(
        report.figures.iter().map(|(name, value)| [format!("  {name}"), format!("{value:.4}")]),
    );
    rows.push(["rows".to_owned(), examples.len().to_string()]);
    rows.push(["seconds".to_owned(), format!("{seconds:.1} ({pace:.2} rows/s)")]);
    output::table(&rows)?;
    let Some(confusion) = &report.confusion else { return Ok(()) };
    if confusion.labels.len() > MOST_CLASSES {
        let note = format!("\n{} classes: see eval.json of --out\n", confusion.labels.len());
        return output::text(&note);
    }
    output::text("\nexpected: how often what was answered\n")?;
    let rows = confusion.labels.iter().zip(&confusion.counts).map(|(label, counts)| {
        let answered = confusion.labels.iter().zip(counts).filter(|(_, count)| **count > 0);
        let answered = answered.map(|(label, count)| format!("{count} {}", one_line(label)));
        [one_line(label), answered.collect::<Vec<_>>().join(", ")]
    });
    output::table(&rows.filter(|[_, answered]| !answered.is_empty()).collect::<Vec<_>>())
}

/// A label that keeps to its line, and is seen if it is empty.
fn one_line(label: &str) -> String {
    if label.trim().is_empty() || label.chars().any(char::is_control) {
        format!("{label:?}")
    } else {
        label.to_owned()
    }
}
