//! `eval`: how well a model answers data, by the metric of its task.

mod compare;
mod page;

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use paligemma::{Answer, Options, PaliGemma};
use paligemma_batch::{Image, Row, answer_rows};
use paligemma_data::{Example, read_jsonl};
use paligemma_metrics::{Metric, Report};

use crate::args::{AnswerArgs, ModelArgs};
use crate::bar::Bar;
use crate::error::Error;
use crate::files::{OutFolder, replace};
use crate::pictures::name;
use crate::{output, wire};
use compare::References;

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
pub(crate) struct Measured {
    pub(crate) examples: Vec<Example>,
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
        self.model.check()?;
        let examples = read_jsonl(&self.data)?;
        let references = References::of(self.metric, &examples)?;
        let model = self.open()?;
        let start = Instant::now();
        let answers = answers(&model, &examples, options, self.batch_size.get())?;
        let time = start.elapsed();
        let report = references.score(&model, &examples, &answers)?;
        let measured = Measured { examples, answers, report, time };
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
        let model = match &self.mask_model {
            Some(path) => model.with_masks(path)?,
            None => model,
        };
        if self.metric == Metric::MeanIou && !model.has_masks() {
            return Err(paligemma::Error::NoMasks.into());
        }
        Ok(model)
    }
}

/// The answer to every row. A row that cannot be answered ends it: a score of the others would not be
/// that of the data.
fn answers(
    model: &PaliGemma,
    examples: &[Example],
    options: Options,
    batch_size: usize,
) -> Result<Vec<Answer>, Error> {
    let rows: Vec<Row> = (1..).zip(examples).map(row).collect();
    let bar = Bar::of_items("rows");
    bar.show(0, rows.len());
    let mut answers = Vec::with_capacity(rows.len());
    let failure = answer_rows(model, &rows, options, batch_size, |batch, given| {
        for (row, answer) in batch.iter().zip(given) {
            match answer {
                Ok(answer) => answers.push(answer),
                Err(source) => return ControlFlow::Break((row.id.clone(), source)),
            }
        }
        bar.show(answers.len(), rows.len());
        ControlFlow::Continue(())
    });
    bar.clear();
    match failure {
        Some((line, source)) => Err(Error::EvalRow { line, source }),
        None => Ok(answers),
    }
}

/// A row as it is answered; its name is its line, since data has no blank ones.
fn row((line, example): (usize, &Example)) -> Row {
    let image = |path: &PathBuf| Image { name: name(path), path: path.clone() };
    Row {
        id: line.to_string(),
        images: example.images.iter().map(image).collect(),
        prompt: example.prefix.clone(),
    }
}

fn write(out: &OutFolder, measured: &Measured) -> Result<(), Error> {
    let folder = out.make()?;
    let json = serde_json::to_vec_pretty(&wire::EvalFile::new(measured));
    let json = json.map_err(std::io::Error::from)?;
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        replace(&path, bytes).map_err(|source| Error::Write { path, source })
    };
    put("worst.html", page::worst(measured).as_bytes())?;
    put("eval.json", &json)
}

/// The summary, the figures beside it, and what was taken for what.
fn table(measured: &Measured) -> Result<(), Error> {
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
