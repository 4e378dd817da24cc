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
    /// A record refers to one that is not there.
    #[error("there is no {kind} {id}")]
    NoSuch {
        /// What it is.
        kind: &'static str,
        /// Its number.
        id: i64,
    },
    /// Two records have one number.
    #[error("another has the number {id}")]
    SameId {
        /// The number.
        id: i64,
    },
    /// A picture is not what it was annotated as.
    #[error(
        "the picture has {} x {} pixels, its annotations are of {} x {}",
        there.0, there.1, said.0, said.1
    )]
    PictureSize {
        /// Width and height of the file.
        there: (u32, u32),
        /// What the annotations say.
        said: (u32, u32),
    },
    /// A name that cannot stand in an answer.
    #[error(
        "the name {label:?} cannot stand in an answer: it is empty or has a `;`, `<` or line break"
    )]
    Label {
        /// The name.
        label: String,
    },
    /// A box that leaves its picture by more than a pixel.
    #[error(
        "the box from {:.1} {:.1} to {:.1} {:.1} leaves the picture of {} x {} pixels",
        edges[0], edges[1], edges[2], edges[3], size.0, size.1
    )]
    Outside {
        /// Left, top, right and bottom edge in pixels.
        edges: [f64; 4],
        /// Width and height of the picture.
        size: (u32, u32),
    },
    /// A box or mask of no extent, or of less than a location.
    #[error("the object is too small to be told: skip degenerate to leave such out")]
    Degenerate,
    /// A region of many things, which no answer can name.
    #[error("a crowd region, which no answer can express: skip crowds to leave such out")]
    Crowd,
    /// A picture without any object.
    #[error("the picture has no object, so there is no answer: skip empty to leave such out")]
    EmptyPicture,
    /// A line of labels of a picture that is not there.
    #[error("labels of no picture: there is none of this name in {}", folder.display())]
    LabelsAlone {
        /// Where pictures are looked for.
        folder: PathBuf,
    },
    /// A class without a picture.
    #[error("the class has no picture")]
    EmptyClass,
    /// Something else than a picture where only pictures belong.
    #[error("not the name of a picture: take the file out")]
    NotPictureName,
    /// A picture that lies in no folder of a class.
    #[error("the picture lies in no folder of a class")]
    NoClass,
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
