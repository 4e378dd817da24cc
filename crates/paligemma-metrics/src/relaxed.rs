//! Relaxed accuracy: numbers may be 5 % off, other answers must be equal.

use crate::python::float;

/// How far a number may be from the reference, as a part of it.
const RELATIVE_ERROR: f64 = 0.05;

/// 1 if the prediction is near enough to one of the references, else 0 (`ChartQA`).
///
/// Numbers, also in per cent, are compared with a tolerance of 5 % of the reference; a reference of 0,
/// and what is no number, must be equal. As big_vision's evaluator `chartqa.py` with `to_lower`, which
/// follows the end of section 5.1 of <https://arxiv.org/abs/2203.10244>: case does not count.
pub fn relaxed_match(prediction: &str, references: &[impl AsRef<str>]) -> f64 {
    let prediction = prediction.to_lowercase();
    let near = |reference: &dyn AsRef<str>| {
        let reference = reference.as_ref().to_lowercase();
        match (number(&prediction), number(&reference)) {
            (Some(value), Some(target)) if target != 0.0 => {
                (value - target).abs() / target.abs() <= RELATIVE_ERROR
            }
            _ => prediction == reference,
        }
    };
    f64::from(u8::from(references.iter().any(|reference| near(reference))))
}

fn number(text: &str) -> Option<f64> {
    if text.ends_with('%') { Some(float(text.trim_end_matches('%'))? / 100.0) } else { float(text) }
}
