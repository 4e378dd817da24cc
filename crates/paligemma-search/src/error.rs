//! Why an index cannot be made or searched.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Everything that may go wrong around an index; a picture that cannot be read is no error.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SearchError {
    /// The model cannot do what is asked.
    #[error(transparent)]
    Model(#[from] paligemma::Error),
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process writes the index.
    #[error("{} is being written by another process: wait until it is done", path.display())]
    Locked {
        /// The index.
        path: PathBuf,
    },
    /// The name of the folder of pictures cannot be kept.
    #[error("the name of the folder {} is not Unicode: rename it", path.display())]
    FolderName {
        /// The folder.
        path: PathBuf,
    },
    /// There is nothing to make an index of.
    #[error("there are no pictures below {}", path.display())]
    NoPictures {
        /// The folder.
        path: PathBuf,
    },
    /// There is no index.
    #[error("{} holds no index: make one with `paligemma index`", path.display())]
    NoIndex {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file of the index is not what was written.
    #[error("{} is damaged, {what}: remove it and index the folder again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The index was made with another model.
    #[error(
        "{} was made with another model than this one: search with that model, or index the \
         folder again into another place",
        path.display()
    )]
    OtherModel {
        /// The file that says so.
        path: PathBuf,
    },
    /// The index is of another folder.
    #[error(
        "the index holds pictures of {}, not of {}: give another place for the new index",
        kept.display(), asked.display()
    )]
    OtherFolder {
        /// The folder that was indexed.
        kept: PathBuf,
        /// The folder to index now.
        asked: PathBuf,
    },
}
