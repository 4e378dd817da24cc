//! Scores of a model in training: what `eval` would say of it.

use paligemma::{Options, PaliGemma};
use paligemma_metrics::Metric;
use paligemma_train::{Judge, JudgeError, Settings};

use super::shown;
use crate::bar::Bar;
use crate::error::Error;
use crate::verbs::eval::judged::Judged;

/// The rows that only measure, and how they are answered.
pub(super) struct Scores {
    judged: Judged,
    options: Options,
    batch_size: usize,
}

impl Scores {
    /// What a run scores, if it does: rows are read, and what the metric does not suit is refused.
    pub(super) fn of(settings: &Settings) -> Result<Option<Self>, Error> {
        let (Some(data), Some(metric)) = (&settings.eval, &settings.metric) else {
            return Ok(None);
        };
        let judged = Judged::read(data, metric.parse::<Metric>()?)?;
        let options = Options { num_beams: settings.beams, ..Options::default() };
        Ok(Some(Self { judged, options, batch_size: settings.at_once() }))
    }
}

impl Judge for Scores {
    fn check(&self, model: &PaliGemma) -> Result<(), JudgeError> {
        Ok(self.judged.suits(model)?)
    }

    fn score(&self, model: &PaliGemma) -> Result<f64, JudgeError> {
        let bar = if shown::on_dashboard() { Bar::hidden() } else { Bar::of_items("rows") };
        Ok(self.judged.measure(model, self.options, self.batch_size, bar)?.report.summary)
    }
}
