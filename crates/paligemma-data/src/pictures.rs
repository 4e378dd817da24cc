//! Headers of many pictures, each file read once.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use paligemma_processor::{PictureError, picture_size};
use rayon::prelude::*;

use crate::Problem;

/// Width and height of upright pictures by their file, or why there are none.
pub(crate) struct Sizes(HashMap<PathBuf, Result<(u32, u32), Problem>>);

impl Sizes {
    /// Reads the headers, several at a time.
    pub(crate) fn of<'a>(paths: impl Iterator<Item = &'a Path>) -> Self {
        let mut distinct: Vec<&Path> = paths.collect();
        distinct.sort_unstable();
        distinct.dedup();
        let size =
            |path: &Path| (path.to_owned(), picture_size(path).map_err(|e| problem(path, &e)));
        Self(distinct.into_par_iter().map(size).collect())
    }

    /// The size of one of them.
    pub(crate) fn get(&self, path: &Path) -> Result<(u32, u32), Problem> {
        let unread = || Err(Problem::NoPicture { path: path.to_owned() });
        self.0.get(path).cloned().unwrap_or_else(unread)
    }
}

fn problem(path: &Path, error: &PictureError) -> Problem {
    match error {
        PictureError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Problem::NoPicture { path: path.to_owned() }
        }
        other => Problem::Picture { reason: other.to_string() },
    }
}
