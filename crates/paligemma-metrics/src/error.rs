//! Why a set cannot be scored.

use thiserror::Error;

use crate::{Kind, Metric};

/// Why a set cannot be scored. Examples are counted from 1.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricError {
    /// There is no metric of that name.
    #[error("unknown metric `{name}`: use one of {}", Metric::names())]
    Unknown {
        /// The name.
        name: String,
    },
    /// A metric compares something else.
    #[error("{metric} compares {}, and these are {given}", metric.kind())]
    Kind {
        /// The metric.
        metric: Metric,
        /// What there is.
        given: Kind,
    },
    /// There are no examples.
    #[error("there is nothing to score: no example")]
    Empty,
    /// An example has nothing to be compared with.
    #[error("{metric}: example {example} has no reference")]
    NoReference {
        /// The metric.
        metric: Metric,
        /// The example.
        example: usize,
    },
    /// An answer could never be fully right.
    #[error(
        "{metric} needs at least {least} references for an example, as many people's answers, and \
         example {example} has {given}: use exact for a single answer"
    )]
    TooFewReferences {
        /// The metric.
        metric: Metric,
        /// The example.
        example: usize,
        /// How many it needs.
        least: usize,
        /// How many it has.
        given: usize,
    },
    /// A class is one label.
    #[error(
        "{metric} needs one reference for an example, its class, and example {example} has {given}: \
         use exact where several are right"
    )]
    TooManyReferences {
        /// The metric.
        metric: Metric,
        /// The example.
        example: usize,
        /// How many it has.
        given: usize,
    },
    /// An example has no mask to be compared with.
    #[error("{metric}: the reference of example {example} has no mask")]
    NoMask {
        /// The metric.
        metric: Metric,
        /// The example.
        example: usize,
    },
    /// Masks are of different pictures.
    #[error("a mask of {prediction:?} pixels cannot be compared with one of {reference:?}")]
    MaskSize {
        /// Width and height of the prediction.
        prediction: (usize, usize),
        /// Width and height of the reference.
        reference: (usize, usize),
    },
    /// Pixels do not make a picture.
    #[error("{pixels} pixels are no rows of {width}")]
    Rows {
        /// Pixels of a row.
        width: usize,
        /// All pixels.
        pixels: usize,
    },
}
