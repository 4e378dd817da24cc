//! Pictures in a folder, in the order that people number them.

use std::path::{Path, PathBuf};

use image::ImageFormat;

use super::ClipError;

/// Whether a file's name ends as that of a picture that can be read. Hidden files are none.
pub fn is_picture_name(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && ImageFormat::from_path(path).is_ok_and(|format| format.reading_enabled())
}

/// The pictures directly in a folder, in the natural order of their names: `frame2` before
/// `frame10`.
///
/// # Errors
/// [`ClipError::Read`] if the folder cannot be listed.
pub fn picture_files(folder: &Path) -> Result<Vec<PathBuf>, ClipError> {
    let failed = |source| ClipError::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if is_picture_name(&path) && path.is_file() {
            files.push(path);
        }
    }
    // Names that differ only in leading zeros are equal in that order.
    files.sort_by(|a, b| alphanumeric_sort::compare_path(a, b).then_with(|| a.cmp(b)));
    Ok(files)
}
