//! What `classify`, `match`, `rank`, `embed`, `index` and `search` print.

use paligemma_search::{Failed, Found, Report};
use serde::Serialize;

use crate::pictures::Outcome;

/// `classify`.
#[derive(Serialize)]
pub(crate) struct Classes<'a> {
    pictures: Vec<Classified<'a>>,
}

#[derive(Serialize)]
struct Classified<'a> {
    picture: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<Label<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
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
    failed: Vec<LeftOut<'a>>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<&'a [f32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// `index`.
#[derive(Serialize)]
pub(crate) struct Indexed<'a> {
    added: usize,
    unchanged: usize,
    removed: usize,
    failed: Vec<LeftOut<'a>>,
}

/// A picture that could not be read.
#[derive(Serialize)]
pub(super) struct LeftOut<'a> {
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

/// Why nothing came of a picture.
fn error<T>(outcome: &Result<T, String>) -> Option<&str> {
    outcome.as_ref().err().map(String::as_str)
}

impl<'a> Classes<'a> {
    pub(crate) fn new(all: &'a [Outcome<Vec<paligemma::Label>>]) -> Self {
        let label = |label: &'a paligemma::Label| {
            let paligemma::Label { ref text, tokens, log_likelihood, prior, probability } = *label;
            Label { text, probability, log_likelihood, prior, tokens }
        };
        let wire = |(picture, labels): &'a Outcome<Vec<_>>| Classified {
            picture,
            labels: labels.as_ref().ok().map(|labels| labels.iter().map(label).collect()),
            error: error(labels),
        };
        Self { pictures: all.iter().map(wire).collect() }
    }
}

impl<'a> LeftOut<'a> {
    /// Those of all.
    pub(super) fn of<T>(all: &'a [Outcome<T>]) -> Vec<Self> {
        let left_out = |(picture, outcome): &'a Outcome<T>| {
            let picture = picture.clone();
            error(outcome).map(|error| LeftOut { picture, error })
        };
        all.iter().filter_map(left_out).collect()
    }
}

impl<'a> Matches<'a> {
    pub(crate) fn new<T>(pairs: &'a [(String, paligemma::Match)], all: &'a [Outcome<T>]) -> Self {
        Self { matches: pairs.iter().map(Match::new).collect(), failed: LeftOut::of(all) }
    }
}

impl<'a> Match<'a> {
    pub(crate) fn new((picture, found): &'a (String, paligemma::Match)) -> Self {
        let paligemma::Match { ref text, tokens, log_likelihood, prior } = *found;
        Self { picture, text, score: found.score(), log_likelihood, prior, tokens }
    }
}

impl<'a> Embeddings<'a> {
    pub(crate) fn new(all: &'a [Outcome<Vec<f32>>]) -> Self {
        let wire = |(picture, embedding): &'a Outcome<Vec<f32>>| Embedded {
            picture,
            embedding: embedding.as_deref().ok(),
            error: error(embedding),
        };
        Self { pictures: all.iter().map(wire).collect() }
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
