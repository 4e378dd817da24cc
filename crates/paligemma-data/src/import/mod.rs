//! Examples made of what other programs keep.

mod coco;
mod csv;
mod folders;
mod objects;
mod parquet;
mod table;
mod yolo;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::fault::Faults;
use crate::{DataError, Example, Place, Problem};

pub use coco::{CocoOptions, MaskEncoder, import_coco, import_coco_masks};
pub use csv::import_csv;
pub use folders::import_folders;
pub use parquet::import_parquet;
pub use table::TableOptions;
pub use yolo::{YoloOptions, import_yolo};

/// What a source has that no answer can express. It is a fault, unless it is to be skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// Regions of many things that are not told apart (COCO's `iscrowd`).
    Crowds,
    /// Boxes and masks without extent, or of less than a location.
    Degenerate,
    /// Pictures without any object, or with none left.
    Empty,
}

impl FromStr for Skip {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "crowds" => Ok(Self::Crowds),
            "degenerate" => Ok(Self::Degenerate),
            "empty" => Ok(Self::Empty),
            _ => Err("give crowds, degenerate or empty".to_owned()),
        }
    }
}

impl fmt::Display for Skip {
    /// What was left out.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Crowds => "crowd regions",
            Self::Degenerate => "objects too small to be told",
            Self::Empty => "pictures without an object",
        })
    }
}

/// What an import gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The examples, in the order of the source.
    pub examples: Vec<Example>,
    /// How much of what was to be skipped there was.
    pub left_out: BTreeMap<Skip, usize>,
}

/// What is found on the way.
struct Notes<'a> {
    skip: &'a [Skip],
    faults: Faults,
    left_out: BTreeMap<Skip, usize>,
}

impl<'a> Notes<'a> {
    fn new(skip: &'a [Skip]) -> Self {
        Self { skip, faults: Faults::default(), left_out: BTreeMap::new() }
    }

    /// Counts what is to be skipped, and takes everything else for a fault.
    fn add(&mut self, file: &Path, place: Place, problem: Problem) {
        let kind = match problem {
            Problem::Crowd => Some(Skip::Crowds),
            Problem::Degenerate => Some(Skip::Degenerate),
            Problem::EmptyPicture => Some(Skip::Empty),
            _ => None,
        };
        match kind.filter(|kind| self.skip.contains(kind)) {
            Some(kind) => *self.left_out.entry(kind).or_default() += 1,
            None => self.faults.push(file, place, problem),
        }
    }

    /// The examples, if nothing is wrong and there is one.
    fn finish(self, source: &Path, examples: Vec<Example>) -> Result<Imported, DataError> {
        let Self { faults, left_out, .. } = self;
        let examples = faults.none(examples)?;
        if examples.is_empty() {
            return Err(DataError::Nothing { path: source.to_owned() });
        }
        Ok(Imported { examples, left_out })
    }
}
