//! Reads a file of JSON lines, every row of which is checked before any is given.

use std::path::Path;

use rayon::prelude::*;

use crate::fault::Faults;
use crate::jsonl::line;
use crate::pictures::Sizes;
use crate::{DataError, Example, Place};

/// Reads all rows of a file.
///
/// A row is `{"image": .., "prefix": .., "suffix": ..}`, with `"images": [..]` instead where there
/// are several pictures, and `"references": [..]` where several answers are right. Pictures are
/// looked for from the file's folder on. Blank lines at the end are passed over.
///
/// # Errors
/// [`DataError::Faults`] if anything is wrong with any row: JSON, keys, types, empty texts, control
/// tokens in texts, pictures that are not there or whose header cannot be read.
/// [`DataError::Read`] and [`DataError::Nothing`] where there is nothing to check.
pub fn read_jsonl(path: &Path) -> Result<Vec<Example>, DataError> {
    let read = |source| DataError::Read { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(read)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let lines: Vec<&[u8]> = bytes.trim_ascii_end().split(|&byte| byte == b'\n').collect();
    if bytes.trim_ascii().is_empty() {
        return Err(DataError::Nothing { path: path.to_owned() });
    }
    let rows: Vec<_> = lines.into_par_iter().map(|text| line::parse(text, folder)).collect();
    let images = rows.iter().flat_map(|(example, _)| example).flat_map(|example| &example.images);
    let sizes = Sizes::of(images.map(AsRef::as_ref));
    let mut faults = Faults::default();
    let mut examples = Vec::with_capacity(rows.len());
    for (number, (example, problems)) in (1..).zip(rows) {
        let images = example.iter().flat_map(|example| &example.images);
        let unread = images.filter_map(|image| sizes.get(image).err());
        for problem in problems.into_iter().chain(unread) {
            faults.push(path, Place::Line(number), problem);
        }
        examples.extend(example);
    }
    faults.none(examples)
}
