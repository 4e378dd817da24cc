//! What `pages --json` prints.

use serde::Serialize;

/// `pages`: best first.
#[derive(Serialize)]
pub(crate) struct Pages<'a> {
    text: &'a str,
    pages: Vec<Page<'a>>,
}

#[derive(Serialize)]
struct Page<'a> {
    image: &'a str,
    score: f32,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(text: &'a str, scores: &'a [(String, f32)]) -> Self {
        let page = |(image, score): &'a (String, f32)| Page { image, score: *score };
        Self { text, pages: scores.iter().map(page).collect() }
    }
}
