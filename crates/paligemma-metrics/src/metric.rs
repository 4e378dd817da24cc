//! The metrics by name, and what each makes of a set of examples.

mod regions;
mod texts;

use std::fmt;
use std::str::FromStr;

use crate::report::{Report, mean};
use crate::{Mask, MetricError, Picture, Rect, average_precision};

/// A metric, by the name under which it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Metric {
    /// `exact`: the answer is one of the references, letter by letter.
    Exact,
    /// `exact-lower`: the same in lower case.
    ExactLower,
    /// `vqa`: the accuracy of the VQA challenge, from several people's answers.
    Vqa,
    /// `vqa-any-three`: right if three people gave that answer, a third for each.
    VqaAnyThree,
    /// `anls`: normalised Levenshtein similarity, for text in documents.
    Anls,
    /// `relaxed`: numbers within 5 %.
    Relaxed,
    /// `cider`: CIDEr-D of captions.
    Cider,
    /// `bleu4`: BLEU-4 of captions.
    Bleu4,
    /// `miou`: mean overlap of masks.
    MeanIou,
    /// `box-accuracy`: boxes that overlap the right one by at least a half.
    BoxAccuracy,
    /// `map`: COCO's average precision of boxes.
    AveragePrecision,
    /// `accuracy`: classes that are right, and what was taken for what.
    Accuracy,
}

/// What a metric compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Answers as text.
    Texts,
    /// One region of a picture, as a box or a mask.
    Regions,
    /// All things in a picture.
    Pictures,
}

/// An answer, and those that are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// The answer.
    pub prediction: String,
    /// What is accepted, or what people answered.
    pub references: Vec<String>,
}

/// A part of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Its box.
    pub rect: Rect,
    /// Its pixels.
    pub mask: Option<Mask>,
}

/// The region that was meant, and the one that was found, if any (`RefCOCO`).
#[derive(Clone, Debug, PartialEq)]
pub struct Referred {
    /// What was found.
    pub prediction: Option<Region>,
    /// What was meant.
    pub reference: Region,
}

/// Examples to score.
#[derive(Clone, Copy, Debug)]
pub enum Examples<'a> {
    /// Answers as text.
    Texts(&'a [Text]),
    /// One region of each picture.
    Regions(&'a [Referred]),
    /// All things in each picture.
    Pictures(&'a [Picture]),
}

/// The names, in the order in which they are listed.
const NAMES: [(Metric, &str); 12] = [
    (Metric::Exact, "exact"),
    (Metric::ExactLower, "exact-lower"),
    (Metric::Vqa, "vqa"),
    (Metric::VqaAnyThree, "vqa-any-three"),
    (Metric::Anls, "anls"),
    (Metric::Relaxed, "relaxed"),
    (Metric::Cider, "cider"),
    (Metric::Bleu4, "bleu4"),
    (Metric::MeanIou, "miou"),
    (Metric::BoxAccuracy, "box-accuracy"),
    (Metric::AveragePrecision, "map"),
    (Metric::Accuracy, "accuracy"),
];

impl Metric {
    /// All metrics.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.into_iter().map(|(metric, _)| metric)
    }

    /// All names, for a person.
    pub fn names() -> String {
        NAMES.map(|(_, name)| name).join(", ")
    }

    /// The name under which it is asked for.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(metric, _)| *metric == self).map_or("", |(_, name)| name)
    }

    /// What it compares.
    pub fn kind(self) -> Kind {
        match self {
            Self::MeanIou | Self::BoxAccuracy => Kind::Regions,
            Self::AveragePrecision => Kind::Pictures,
            _ => Kind::Texts,
        }
    }

    /// Says whether references suit the metric, which does not depend on the predictions.
    ///
    /// # Errors
    /// As [`Metric::score`], but for masks.
    pub fn check(self, examples: &Examples<'_>) -> Result<(), MetricError> {
        if self.kind() != examples.kind() {
            return Err(MetricError::Kind { metric: self, given: examples.kind() });
        }
        if examples.len() == 0 {
            return Err(MetricError::Empty);
        }
        match *examples {
            Examples::Texts(texts) => texts::check(self, texts),
            Examples::Regions(_) | Examples::Pictures(_) => Ok(()),
        }
    }

    /// Scores examples.
    ///
    /// # Errors
    /// If there are none, they are not what the metric compares, one has no reference or not as many
    /// as the metric needs, or masks of one picture are of different sizes.
    pub fn score(self, examples: &Examples<'_>) -> Result<Report, MetricError> {
        self.check(examples)?;
        match *examples {
            Examples::Texts(texts) => Ok(texts::score(self, texts)),
            Examples::Regions(regions) => regions::score(self, regions),
            Examples::Pictures(pictures) => Ok(score_pictures(self, pictures)),
        }
    }
}

impl Examples<'_> {
    fn kind(&self) -> Kind {
        match self {
            Self::Texts(_) => Kind::Texts,
            Self::Regions(_) => Kind::Regions,
            Self::Pictures(_) => Kind::Pictures,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Regions(regions) => regions.len(),
            Self::Pictures(pictures) => pictures.len(),
        }
    }
}

/// A picture alone has its own average precision; one in which there is nothing is right if nothing
/// was found.
fn score_pictures(metric: Metric, pictures: &[Picture]) -> Report {
    let alone = |picture: &Picture| {
        let nothing = f64::from(u8::from(picture.detections.is_empty()));
        average_precision(std::slice::from_ref(picture)).ap.unwrap_or(nothing)
    };
    let scores: Vec<f64> = pictures.iter().map(alone).collect();
    let all = average_precision(pictures);
    let figures = all.named().into_iter().filter_map(|(name, value)| Some((name, value?)));
    Report::new(metric, all.ap.unwrap_or_else(|| mean(&scores)), scores).with(figures)
}

impl FromStr for Metric {
    type Err = MetricError;

    fn from_str(name: &str) -> Result<Self, MetricError> {
        let found = NAMES.iter().find(|(_, known)| *known == name);
        found
            .map(|(metric, _)| *metric)
            .ok_or_else(|| MetricError::Unknown { name: name.to_owned() })
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Texts => "answers as text",
            Self::Regions => "one region of each picture",
            Self::Pictures => "all things in each picture",
        })
    }
}
