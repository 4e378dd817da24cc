//! Data with the metric that it is judged by: answered by a model, and scored.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use paligemma::{Answer, Options, PaliGemma};
use paligemma_batch::{Image, Row, answer_rows};
use paligemma_data::{Example, read_jsonl};
use paligemma_metrics::Metric;

use super::Measured;
use super::compare::References;
use crate::bar::Bar;
use crate::error::Error;
use crate::pictures::name;

/// Examples and what is expected of them.
pub(crate) struct Judged {
    metric: Metric,
    examples: Vec<Example>,
    references: References,
}

impl Judged {
    /// Reads the data, and refuses what the metric does not suit.
    pub(crate) fn read(data: &Path, metric: Metric) -> Result<Self, Error> {
        let examples = read_jsonl(data)?;
        let references = References::of(metric, &examples)?;
        Ok(Self { metric, examples, references })
    }

    /// Refuses a model that has no masks where they are compared.
    pub(crate) fn suits(&self, model: &PaliGemma) -> Result<(), Error> {
        if self.metric == Metric::MeanIou && !model.has_masks() {
            return Err(paligemma::Error::NoMasks.into());
        }
        Ok(())
    }

    /// Answers all rows, `batch_size` at a time, and scores the answers; `bar` shows how far it is.
    pub(crate) fn measure(
        &self,
        model: &PaliGemma,
        options: Options,
        batch_size: usize,
        bar: Bar,
    ) -> Result<Measured<'_>, Error> {
        let start = Instant::now();
        let answers = answers(model, &self.examples, options, batch_size, bar)?;
        let time = start.elapsed();
        let report = self.references.score(model, &self.examples, &answers)?;
        Ok(Measured { examples: &self.examples, answers, report, time })
    }
}

/// The answer to every row. A row that cannot be answered ends it: a score of the others would not be
/// that of the data.
fn answers(
    model: &PaliGemma,
    examples: &[Example],
    options: Options,
    batch_size: usize,
    bar: Bar,
) -> Result<Vec<Answer>, Error> {
    let rows: Vec<Row> = (1..).zip(examples).map(row).collect();
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
