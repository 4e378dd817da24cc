//! ANLS: average normalised Levenshtein similarity, for text read from documents.

use crate::python::split;

/// Answers that differ by this part of their length or more score nothing.
const THRESHOLD: f64 = 0.5;

/// The similarity to the nearest reference, 0..=1: 1 - distance / length, 0 from half the length on
/// (Biten et al. 2019, <https://arxiv.org/abs/1907.00490>, equation 1).
///
/// As the package `anls` has it: case does not count, nor how much space there is, and the length is
/// that of the longer one in upper case, where a letter such as ß is two. big_vision's evaluator
/// differs in that it leaves space as it is.
pub fn anls(prediction: &str, references: &[impl AsRef<str>]) -> f64 {
    let prediction = plain(prediction);
    let similarity = |reference: &dyn AsRef<str>| {
        let reference = plain(reference.as_ref());
        let distance = strsim::levenshtein(&prediction, &reference) as f64;
        let length = upper_length(&prediction).max(upper_length(&reference));
        let part = if length == 0 { 0.0 } else { distance / length as f64 };
        if part < THRESHOLD { 1.0 - part } else { 0.0 }
    };
    references.iter().map(|reference| similarity(reference)).fold(0.0, f64::max)
}

fn plain(text: &str) -> String {
    split(&text.to_lowercase()).collect::<Vec<_>>().join(" ")
}

fn upper_length(text: &str) -> usize {
    text.chars().flat_map(char::to_uppercase).count()
}
