//! What a user is told when something cannot be done.

use std::io;
use std::path::PathBuf;

use paligemma::image::ImageError;
use paligemma_checkpoint::SaveError;
use paligemma_search::SearchError;
use thiserror::Error;

/// Everything that may end a run; each is one line.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The model, its files or a picture.
    #[error(transparent)]
    Model(#[from] paligemma::Error),
    /// Nothing was asked.
    #[error("the question is empty: ask something, such as \"how many cats are there?\"")]
    EmptyQuestion,
    /// The name of a picture to write does not say its format.
    #[error("{} does not say how to write a picture: end it in .png, .jpg or .webp", path.display())]
    PictureName {
        /// The name.
        path: PathBuf,
    },
    /// The name of a file for vectors does not say its format.
    #[error("{} does not say how to write numbers: end it in .npy or .safetensors", path.display())]
    VectorsName {
        /// The name.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// An index cannot be made or searched.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// A picture to write has no folder.
    #[error("cannot write {}: there is no such folder", path.display())]
    NoFolder {
        /// The name of the picture.
        path: PathBuf,
    },
    /// Pictures are to be written into what is not a folder.
    #[error("{} is not a folder: name one, or one to be made", path.display())]
    NotAFolder {
        /// The name.
        path: PathBuf,
    },
    /// A picture cannot be brought into its format.
    #[error("cannot write {}: {source}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// What the encoder says.
        source: ImageError,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A model cannot be converted.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// The environment asks for instructions that there are not.
    #[error("{0}")]
    Isa(String),
    /// The threads cannot be started.
    #[error("cannot start the threads: {0}; ask for fewer with --threads")]
    Threads(rayon::ThreadPoolBuildError),
    /// The standard output cannot be written.
    #[error("cannot write to the standard output: {0}")]
    Stdout(#[from] io::Error),
}

impl Error {
    /// Whether the only trouble is that nobody reads the standard output any more.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The message on one line, whatever a file name or another program's message holds.
    pub(crate) fn line(&self) -> String {
        self.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line() {
        let error = Error::NoFolder { path: "a\nb.png".into() };
        assert_eq!(error.line(), "cannot write a b.png: there is no such folder");
    }
}
