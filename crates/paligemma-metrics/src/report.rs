//! What a metric says of a set: one number, a number for each example, and further figures.

use crate::{Confusion, Metric};

/// How a set was scored. More is better in all of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What it was scored by.
    pub metric: Metric,
    /// The number that is published for the metric, as a fraction: 0..=1, of `CIDEr` 0..=10.
    pub summary: f64,
    /// A score for each example, in their order. Where the summary is not their mean, as with BLEU and
    /// average precision, it is the metric of the example alone.
    pub scores: Vec<f64>,
    /// Figures beside the summary, by name.
    pub figures: Vec<(&'static str, f64)>,
    /// What was taken for what, where examples are classes.
    pub confusion: Option<Confusion>,
}

impl Report {
    /// A report whose summary is the mean of the scores.
    pub(crate) fn mean(metric: Metric, scores: Vec<f64>) -> Self {
        let summary = mean(&scores);
        Self::new(metric, summary, scores)
    }

    pub(crate) fn new(metric: Metric, summary: f64, scores: Vec<f64>) -> Self {
        Self { metric, summary, scores, figures: Vec::new(), confusion: None }
    }

    pub(crate) fn with(self, figures: impl IntoIterator<Item = (&'static str, f64)>) -> Self {
        Self { figures: figures.into_iter().collect(), ..self }
    }
}

/// The mean; 0 of nothing.
pub(crate) fn mean(scores: &[f64]) -> f64 {
    scores.iter().sum::<f64>() / scores.len().max(1) as f64
}
