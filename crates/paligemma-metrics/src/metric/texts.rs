//! Metrics of answers as text.

use super::{Metric, Text};
use crate::report::{Report, mean};
use crate::{
    MetricError, anls, bleu, cider, confusion, exact_match, exact_match_lower, relaxed_match,
    vqa_accuracy, vqa_any_three,
};

/// References with fewer than which no answer can be fully right.
fn least_references(metric: Metric) -> usize {
    match metric {
        // One of them is left out, and three have to agree.
        Metric::Vqa => 4,
        Metric::VqaAnyThree => 3,
        _ => 1,
    }
}

/// Scores texts that suit the metric.
pub(super) fn score(metric: Metric, texts: &[Text]) -> Report {
    let each = |score: fn(&str, &[String]) -> f64| -> Vec<f64> {
        texts.iter().map(|text| score(&text.prediction, &text.references)).collect()
    };
    let mean_of = |score| Report::mean(metric, each(score));
    match metric {
        Metric::ExactLower => mean_of(exact_match_lower),
        Metric::Vqa => mean_of(vqa_accuracy),
        Metric::VqaAnyThree => mean_of(vqa_any_three),
        Metric::Anls => mean_of(anls),
        Metric::Relaxed => mean_of(relaxed_match).with([("exact", mean(&each(exact_match_lower)))]),
        Metric::Cider => {
            let cider = cider(texts);
            Report::new(metric, cider.mean, cider.each)
        }
        Metric::Bleu4 => {
            let bleu = bleu(texts);
            let [one, two, three, four] = bleu.corpus;
            let figures = [("bleu1", one), ("bleu2", two), ("bleu3", three), ("bleu4", four)];
            Report::new(metric, four, bleu.each.iter().map(|each| each[3]).collect()).with(figures)
        }
        Metric::Accuracy => {
            let pairs = texts.iter().map(|text| (&*text.prediction, &*text.references[0]));
            let confusion = Some(confusion(pairs));
            Report { confusion, ..mean_of(exact_match) }
        }
        // Metrics of other kinds do not come here.
        _ => mean_of(exact_match),
    }
}

/// Says whether there are as many references as the metric needs.
pub(super) fn check(metric: Metric, texts: &[Text]) -> Result<(), MetricError> {
    let least = least_references(metric);
    for (example, text) in (1..).zip(texts) {
        match text.references.len() {
            0 => return Err(MetricError::NoReference { metric, example }),
            given if given < least => {
                return Err(MetricError::TooFewReferences { metric, example, least, given });
            }
            given if metric == Metric::Accuracy && given > 1 => {
                return Err(MetricError::TooManyReferences { metric, example, given });
            }
            _ => {}
        }
    }
    Ok(())
}
