//! What `eval --json` prints, and what it writes.

use std::collections::BTreeMap;

use paligemma_metrics::Confusion;
use serde::Serialize;

use crate::pictures::name;
use crate::verbs::Measured;

/// The scores, without the answers.
#[derive(Serialize)]
pub(crate) struct Eval<'a> {
    metric: &'static str,
    summary: f64,
    figures: BTreeMap<&'static str, f64>,
    rows: usize,
    seconds: f64,
    confusion: Option<Classes<'a>>,
}

/// A row of counts for each expected label: how often each label was answered.
#[derive(Serialize)]
struct Classes<'a> {
    labels: &'a [String],
    counts: &'a [Vec<usize>],
}

/// `eval.json`: the same with every answer, in the order of the data.
#[derive(Serialize)]
pub(crate) struct EvalFile<'a> {
    #[serde(flatten)]
    eval: Eval<'a>,
    answers: Vec<Answered<'a>>,
}

#[derive(Serialize)]
struct Answered<'a> {
    images: Vec<String>,
    prefix: &'a str,
    answer: &'a str,
    references: &'a [String],
    score: f64,
}

impl<'a> Eval<'a> {
    pub(crate) fn new(measured: &'a Measured<'a>) -> Self {
        let report = &measured.report;
        let classes = |Confusion { labels, counts }: &'a Confusion| Classes { labels, counts };
        Self {
            metric: report.metric.name(),
            summary: report.summary,
            figures: report.figures.iter().copied().collect(),
            rows: measured.examples.len(),
            seconds: measured.time.as_secs_f64(),
            confusion: report.confusion.as_ref().map(classes),
        }
    }
}

impl<'a> EvalFile<'a> {
    pub(crate) fn new(measured: &'a Measured<'a>) -> Self {
        let rows = measured.examples.iter().zip(&measured.answers).zip(&measured.report.scores);
        let answered = rows.map(|((example, answer), score)| Answered {
            images: example.images.iter().map(|path| name(path)).collect(),
            prefix: &example.prefix,
            answer: &answer.text,
            references: &example.references,
            score: *score,
        });
        Self { eval: Eval::new(measured), answers: answered.collect() }
    }
}
