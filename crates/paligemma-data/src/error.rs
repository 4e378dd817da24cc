//! Why there is no data.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::fault::{Fault, LISTED};

/// Why data could not be read, imported or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no row.
    #[error("{} holds no example", path.display())]
    Nothing {
        /// The file or folder.
        path: PathBuf,
    },
    /// A file is not in the format that it should have.
    #[error("cannot read {}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A table lacks a column.
    #[error("{} has no column \"{name}\": there are {}", path.display(), there.join(", "))]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// The columns that it has.
        there: Vec<String>,
    },
    /// What is to be written is there already.
    #[error("{} is there already: take it away, or give another --out", path.display())]
    Exists {
        /// The file or folder.
        path: PathBuf,
    },
    /// Rows or records are wrong. None of the others is given either.
    #[error("{}", list(faults, *total))]
    Faults {
        /// The first [`LISTED`] of them, in the order of the source.
        faults: Vec<Fault>,
        /// How many there are.
        total: usize,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// One line that says how many faults there are, and a line for each that is listed.
fn list(faults: &[Fault], total: usize) -> String {
    let mut text = format!("the data has {total} fault{}", if total == 1 { "" } else { "s" });
    if total > faults.len() {
        // Writing to a string cannot fail.
        let _ = write!(text, ", the first {LISTED} are");
    }
    for fault in faults {
        let _ = write!(text, "\n  {fault}");
    }
    text
}
