//! What `classify`, `match`, `rank`, `embed`, `index` and `search` print.

use paligemma_search::{Failed, Found, Report};
use serde::Serialize;

/// `classify`.
#[derive(Serialize)]
pub(crate) struct Classes<'a> {
    pictures: Vec<Classified<'a>>,
}

#[derive(Serialize)]
struct Classified<'a> {
    picture: &'a str,
    labels: Vec<Label<'a>>,
}

#[derive(Serialize)]
struct Label<'a> {
    text: &'a str,
    probability: f32,
    log_likelihood: f32,
    prior: Option<f32>,
    tokens: usize,
}

/// `rank`.
#[derive(Serialize)]
pub(crate) struct Matches<'a> {
    matches: Vec<Match<'a>>,
}

/// `match`.
#[derive(Serialize)]
pub(crate) struct Match<'a> {
    picture: &'a str,
    text: &'a str,
    score: f32,
    log_likelihood: f32,
    prior: f32,
    tokens: usize,
}

/// `embed`.
#[derive(Serialize)]
pub(crate) struct Embeddings<'a> {
    pictures: Vec<Embedded<'a>>,
}

#[derive(Serialize)]
struct Embedded<'a> {
    picture: &'a str,
    embedding: &'a [f32],
}

/// `index`.
#[derive(Serialize)]
pub(crate) struct Indexed<'a> {
    added: usize,
    unchanged: usize,
    removed: usize,
    failed: Vec<LeftOut<'a>>,
}

#[derive(Serialize)]
struct LeftOut<'a> {
    picture: String,
    error: &'a str,
}

/// `search`.
#[derive(Serialize)]
pub(crate) struct Search<'a> {
    pictures: Vec<Hit<'a>>,
}

#[derive(Serialize)]
struct Hit<'a> {
    picture: String,
    score: f32,
    caption: &'a str,
    width: u32,
    height: u32,
}

impl<'a> Classes<'a> {
    pub(crate) fn new(all: &'a [(String, Vec<paligemma::Label>)]) -> Self {
        let label = |label: &'a paligemma::Label| {
            let paligemma::Label { ref text, tokens, log_likelihood, prior, probability } = *label;
            Label { text, probability, log_likelihood, prior, tokens }
        };
        let wire = |(picture, labels): &'a (String, Vec<_>)| Classified {
            picture,
            labels: labels.iter().map(label).collect(),
        };
        Self { pictures: all.iter().map(wire).collect() }
    }
}

impl<'a> Matches<'a> {
    pub(crate) fn new(pairs: &'a [(String, paligemma::Match)]) -> Self {
        Self { matches: pairs.iter().map(Match::new).collect() }
    }
}

impl<'a> Match<'a> {
    pub(crate) fn new((picture, found): &'a (String, paligemma::Match)) -> Self {
        let paligemma::Match { ref text, tokens, log_likelihood, prior } = *found;
        Self { picture, text, score: found.score(), log_likelihood, prior, tokens }
    }
}

impl<'a> Embeddings<'a> {
    pub(crate) fn new(names: &'a [String], vectors: &'a [Vec<f32>]) -> Self {
        let pictures = names.iter().zip(vectors);
        let wire =
            |(picture, embedding): (&'a String, &'a Vec<f32>)| Embedded { picture, embedding };
        Self { pictures: pictures.map(wire).collect() }
    }
}

impl<'a> Indexed<'a> {
    pub(crate) fn new(report: &'a Report) -> Self {
        let Report { added, unchanged, removed, ref failed } = *report;
        let left_out = |failed: &'a Failed| LeftOut {
            picture: failed.path.to_string_lossy().into_owned(),
            error: &failed.error,
        };
        Self { added, unchanged, removed, failed: failed.iter().map(left_out).collect() }
    }
}

impl<'a> Search<'a> {
    pub(crate) fn new(found: &'a [Found]) -> Self {
        let hit = |found: &'a Found| Hit {
            picture: found.path.to_string_lossy().into_owned(),
            score: found.score,
            caption: &found.caption,
            width: found.size.0,
            height: found.size.1,
        };
        Self { pictures: found.iter().map(hit).collect() }
    }
}
