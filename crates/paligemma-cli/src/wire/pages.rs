//! What `pages --json` prints.

use serde::Serialize;

use super::retrieve::LeftOut;
use crate::pictures::Outcome;

/// `pages`: best first.
#[derive(Serialize)]
pub(crate) struct Pages<'a> {
    text: &'a str,
    pages: Vec<Page<'a>>,
    failed: Vec<LeftOut<'a>>,
}

#[derive(Serialize)]
struct Page<'a> {
    image: &'a str,
    score: f32,
}

impl<'a> Pages<'a> {
    pub(crate) fn new<T>(text: &'a str, scores: &[(&'a str, f32)], all: &'a [Outcome<T>]) -> Self {
        let page = |&(image, score): &(&'a str, f32)| Page { image, score };
        let failed = LeftOut::of(all);
        Self { text, pages: scores.iter().map(page).collect(), failed }
    }
}
