//! A folder for each class, with its pictures: rows to classify.

use std::collections::BTreeSet;
use std::path::Path;

use paligemma_processor::is_picture_name;

use super::objects::check_label;
use super::table::files;
use super::{Imported, Notes};
use crate::pictures::Sizes;
use crate::{DataError, Example, Place, Problem};

/// Makes a row of every picture in `folder/CLASS/..`: the prefix, and the class for suffix.
///
/// # Errors
/// [`DataError::Faults`] if a picture cannot be read or lies in no folder of a class, another file
/// is among them, or a class has no picture or a name that cannot be an answer.
pub fn import_folders(folder: &Path, prefix: &str) -> Result<Imported, DataError> {
    let mut notes = Notes::new(&[]);
    let all = files(folder)?;
    let sizes = Sizes::of(all.iter().filter(|path| is_picture_name(path)).map(AsRef::as_ref));
    let mut examples = Vec::new();
    let mut seen = BTreeSet::new();
    for path in all {
        match class(folder, &path).and_then(|class| sizes.get(&path).map(|_| class)) {
            Ok(class) => {
                seen.insert(class.clone());
                let example = Example::new(vec![path.clone()], prefix.to_owned(), class);
                for problem in example.problems() {
                    notes.add(&path, Place::File, problem);
                }
                examples.push(example);
            }
            Err(problem) => notes.add(&path, Place::File, problem),
        }
    }
    let unreadable = |source| DataError::Read { path: folder.to_owned(), source };
    for entry in folder.read_dir().map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && !seen.contains(&name) {
            notes.add(&path, Place::File, Problem::EmptyClass);
        }
    }
    notes.finish(folder, examples)
}

/// The class of a picture: the folder below the first that it lies in.
fn class(folder: &Path, path: &Path) -> Result<String, Problem> {
    if !is_picture_name(path) {
        return Err(Problem::NotPictureName);
    }
    let within = path.strip_prefix(folder).unwrap_or(path);
    let [class, _, ..] = &within.iter().collect::<Vec<_>>()[..] else {
        return Err(Problem::NoClass);
    };
    let class = class.to_str().ok_or(Problem::NotText)?;
    check_label(class)?;
    Ok(class.to_owned())
}
