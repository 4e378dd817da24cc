//! Why rows could not be listed, or results not be written.

use std::io;
use std::path::PathBuf;

use parquet::errors::ParquetError;
use thiserror::Error;

/// Why there is no list of rows.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RowsError {
    /// A folder or a file of rows cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A pattern cannot be understood.
    #[error("the pattern `{pattern}` cannot be read: {source}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        source: glob::PatternError,
    },
    /// There is nothing to answer.
    #[error(
        "no picture is in `{source_name}`: give a folder, a pattern such as \"*.jpg\", or a .jsonl file"
    )]
    Nothing {
        /// What was given.
        source_name: String,
    },
    /// A line of a file of rows is not a row.
    #[error("{} line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from one.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A row has no prompt.
    #[error("the row `{id}` has no prompt: give one for all rows, or one in the row")]
    NoPrompt {
        /// The row.
        id: String,
    },
    /// Two rows could not be told apart in the results.
    #[error("two rows have the id `{id}`: give every row its own")]
    SameId {
        /// Their id.
        id: String,
    },
}

/// Why results could not be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The name of the results does not say their format.
    #[error("{} does not say how to write results: end it in .jsonl or .parquet", path.display())]
    OutputName {
        /// The name.
        path: PathBuf,
    },
    /// There are results already.
    #[error("{} is there already: go on with it by --resume, or give another --out", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The folder of the results is not there.
    #[error("cannot write {}: there is no such folder; make it first", path.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
    },
    /// Results are there, but not what they are results of.
    #[error("cannot resume {}: {} is missing beside it; give another --out", path.display(), missing.display())]
    Unknown {
        /// The results.
        path: PathBuf,
        /// The file that would say.
        missing: PathBuf,
    },
    /// The results there belong to another job.
    #[error("cannot resume {}: it was begun with other {what}; give another --out", path.display())]
    OtherJob {
        /// The results.
        path: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// The results there are not those that this program wrote.
    #[error("cannot resume {}: line {line} is not the result of its row; give another --out", path.display())]
    Damaged {
        /// The results.
        path: PathBuf,
        /// The line, from one.
        line: usize,
    },
    /// Another process writes the results.
    #[error("{} is being written by another process: wait for it, or give another --out", path.display())]
    Locked {
        /// The results.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The table cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ParquetError,
    },
}
