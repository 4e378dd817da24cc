//! What may be wrong with a row or record, and where it stands.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::DataError;

/// The most faults that an error lists.
pub const LISTED: usize = 20;

/// Something wrong in a source of data.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The file it stands in.
    pub file: PathBuf,
    /// Where in the file.
    pub place: Place,
    /// What is wrong.
    pub problem: Problem,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole.
    File,
    /// A line, from one.
    Line(usize),
    /// A record that has a name or number of its own, such as `annotation 12`.
    Record(String),
}

/// What is wrong with a row or record.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// A line has nothing on it, and others follow.
    #[error("the line is blank: take it out")]
    Blank,
    /// Bytes that are no text.
    #[error("not text in UTF-8")]
    NotText,
    /// Not the format that the file should have.
    #[error("{reason}")]
    Malformed {
        /// What the parser says.
        reason: String,
    },
    /// A key that rows do not have.
    #[error("\"{key}\" is no key of a row: did you mean \"{nearest}\"?")]
    UnknownKey {
        /// The key.
        key: String,
        /// The one most like it.
        nearest: &'static str,
    },
    /// A key twice.
    #[error("\"{key}\" stands twice")]
    SameKey {
        /// The key.
        key: String,
    },
    /// A key that must be there.
    #[error("\"{key}\" is missing")]
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// A value of another type.
    #[error("\"{key}\" is not {expected}")]
    Type {
        /// The key.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Both keys for pictures, or neither.
    #[error("give either \"image\" or \"images\"")]
    ImageOrImages,
    /// A text that must say something.
    #[error("\"{key}\" is empty")]
    Empty {
        /// Its key.
        key: &'static str,
    },
    /// A token that only the processor may place.
    #[error("\"{key}\" contains the control token {token}: take it out")]
    ControlToken {
        /// The key of the text.
        key: &'static str,
        /// The token.
        token: &'static str,
    },
    /// What looks like the token of a location or of a mask and is none.
    #[error(
        "\"{key}\" contains `{found}`, which is neither <loc0000> to <loc1023> nor <seg000> to <seg127>"
    )]
    NoSuchToken {
        /// The key of the text.
        key: &'static str,
        /// How it begins.
        found: String,
    },
    /// There is no such file.
    #[error("there is no picture {}", path.display())]
    NoPicture {
        /// The file.
        path: PathBuf,
    },
    /// A file that cannot be read as a picture.
    #[error("{reason}")]
    Picture {
        /// What is wrong with it; it names the file.
        reason: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, place, problem } = self;
        match place {
            Place::File => write!(formatter, "{}: {problem}", file.display()),
            Place::Line(line) => write!(formatter, "{}:{line}: {problem}", file.display()),
            Place::Record(record) => write!(formatter, "{}: {record}: {problem}", file.display()),
        }
    }
}

/// Faults as they are found: the first are kept, all are counted.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    first: Vec<Fault>,
    total: usize,
}

impl Faults {
    pub(crate) fn push(&mut self, file: &Path, place: Place, problem: Problem) {
        self.total += 1;
        if self.first.len() < LISTED {
            self.first.push(Fault { file: file.to_owned(), place, problem });
        }
    }

    /// The value, if nothing was found.
    pub(crate) fn none<T>(self, value: T) -> Result<T, DataError> {
        match self.total {
            0 => Ok(value),
            total => Err(DataError::Faults { faults: self.first, total }),
        }
    }
}
