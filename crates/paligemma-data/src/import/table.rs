//! What tables and folders have in common: columns, and files in their natural order.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::DataError;

/// Which columns of a table rows are made of.
#[derive(Clone, Debug)]
pub struct TableOptions {
    /// The column of pictures.
    pub image: String,
    /// The column of prefixes.
    pub prefix: String,
    /// The column of suffixes.
    pub suffix: String,
    /// One prefix for all rows, instead of a column.
    pub same_prefix: Option<String>,
}

impl Default for TableOptions {
    fn default() -> Self {
        let [image, prefix, suffix] = ["image", "prefix", "suffix"].map(str::to_owned);
        Self { image, prefix, suffix, same_prefix: None }
    }
}

impl TableOptions {
    /// Where the columns are among those of a table: picture, prefix if rows have one, suffix.
    pub(super) fn places(
        &self,
        path: &Path,
        there: &[String],
    ) -> Result<(usize, Option<usize>, usize), DataError> {
        let place = |name: &String| {
            let missing = || DataError::NoColumn {
                path: path.to_owned(),
                name: name.clone(),
                there: there.to_vec(),
            };
            there.iter().position(|column| column == name).ok_or_else(missing)
        };
        let prefix = match &self.same_prefix {
            Some(_) => None,
            None => Some(place(&self.prefix)?),
        };
        Ok((place(&self.image)?, prefix, place(&self.suffix)?))
    }
}

/// All files below a folder in natural order, without hidden ones.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    let walk = WalkDir::new(folder).follow_links(true).into_iter();
    let mut files = Vec::new();
    for entry in walk.filter_entry(|entry| entry.depth() == 0 || !hidden(entry.file_name())) {
        let entry = entry.map_err(|error| DataError::Read {
            path: error.path().unwrap_or(folder).to_owned(),
            source: error.into(),
        })?;
        if entry.file_type().is_file() {
            files.push(entry.into_path());
        }
    }
    // Names that differ only in leading zeros are equal in the natural order.
    files.sort_by(|a, b| alphanumeric_sort::compare_path(a, b).then_with(|| a.cmp(b)));
    Ok(files)
}
