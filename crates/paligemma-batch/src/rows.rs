//! What is to be answered: rows from a folder, a pattern, or a file of JSON lines.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use paligemma_processor::{pictures_below, sort_naturally};
use serde::Deserialize;

use crate::RowsError;

/// A prompt about one or more pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What tells it from other rows.
    pub id: String,
    /// Its pictures, in the order in which they stand before the prompt.
    pub images: Vec<Image>,
    /// The prompt.
    pub prompt: String,
}

/// A picture of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What results call it.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// A row with or without a prompt of its own.
struct Found {
    id: String,
    images: Vec<Image>,
    prompt: Option<String>,
}

/// Lists what `source` names, with `prompt` for the rows that have none:
///
/// * a folder: every picture in it and in folders within, in natural order (`2.png` before
///   `10.png`); hidden ones are left out. A row's id is its path within the folder.
/// * a file ending in `.jsonl`: a row per line, `{"image": ..}` or `{"images": [..]}` with `prompt`
///   and `id` if wanted. Pictures are looked for beside the file; without an id the number of the
///   line is taken. Other fields are passed over.
/// * any other file that is there: that picture alone, whichever signs are in its name. The row's id
///   is its path.
/// * else a pattern such as `photos/**/*.jpg`: every file that matches, in natural order. A row's id
///   is its path.
///
/// What is found but cannot be read, a link that leads nowhere or a folder within, is a row as well:
/// its result will say why.
///
/// # Errors
/// If the folder itself or the file of rows cannot be read, there is no row, a row has no prompt, or
/// two have the same id.
pub fn rows(source: &str, prompt: Option<&str>) -> Result<Vec<Row>, RowsError> {
    let path = Path::new(source);
    let found = if path.is_dir() {
        in_folder(path)?
    } else if path.extension() == Some(OsStr::new("jsonl")) {
        in_lines(path)?
    } else if path.is_file() {
        vec![single(source.to_owned(), path.to_owned())]
    } else {
        by_pattern(source)?
    };
    if found.is_empty() {
        return Err(RowsError::Nothing { source_name: source.to_owned() });
    }
    let mut ids = HashSet::new();
    for Found { id, .. } in &found {
        if !ids.insert(id) {
            return Err(RowsError::SameId { id: id.clone() });
        }
    }
    let row = |Found { id, images, prompt: own }| match own.or_else(|| prompt.map(str::to_owned)) {
        Some(prompt) => Ok(Row { id, images, prompt }),
        None => Err(RowsError::NoPrompt { id }),
    };
    found.into_iter().map(row).collect()
}

fn in_folder(folder: &Path) -> Result<Vec<Found>, RowsError> {
    let found = pictures_below(folder)
        .map_err(|source| RowsError::Read { path: folder.to_owned(), source })?;
    let mut files = found.pictures;
    files.extend(found.unreadable.into_iter().map(|(path, _)| path));
    sort_naturally(&mut files);
    let id = |path: &Path| text(path.strip_prefix(folder).unwrap_or(path));
    Ok(files.into_iter().map(|path| single(id(&path), path)).collect())
}

fn by_pattern(pattern: &str) -> Result<Vec<Found>, RowsError> {
    let paths = glob::glob(pattern)
        .map_err(|source| RowsError::Pattern { pattern: pattern.to_owned(), source })?;
    let mut files: Vec<PathBuf> =
        paths.map(|path| path.unwrap_or_else(|error| error.path().to_owned())).collect();
    // A folder that matches is no picture, but one that cannot be listed may hold some.
    files.retain(|path| !path.is_dir() || path.read_dir().is_err());
    sort_naturally(&mut files);
    Ok(files.into_iter().map(|path| single(text(&path), path)).collect())
}

fn single(id: String, path: PathBuf) -> Found {
    Found { id, images: vec![Image { name: text(&path), path }], prompt: None }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A line of a file of rows.
#[derive(Deserialize)]
struct Line {
    id: Option<Id>,
    image: Option<String>,
    images: Option<Vec<String>>,
    prompt: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Number(serde_json::Number),
    Text(String),
}

fn in_lines(path: &Path) -> Result<Vec<Found>, RowsError> {
    let lines = std::fs::read_to_string(path)
        .map_err(|source| RowsError::Read { path: path.to_owned(), source })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let full = lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    full.map(|(index, line)| {
        let line_number = index + 1;
        found(line, line_number, folder).map_err(|reason| RowsError::Line {
            path: path.to_owned(),
            line: line_number,
            reason,
        })
    })
    .collect()
}

fn found(line: &str, number: usize, folder: &Path) -> Result<Found, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let names = match (line.image, line.images) {
        (Some(name), None) => vec![name],
        (None, Some(names)) if !names.is_empty() => names,
        _ => return Err("give either \"image\" or \"images\"".to_owned()),
    };
    let image = |name: String| Image { path: folder.join(&name), name };
    let id = match line.id {
        Some(Id::Number(id)) => id.to_string(),
        Some(Id::Text(id)) => id,
        None => number.to_string(),
    };
    Ok(Found { id, images: names.into_iter().map(image).collect(), prompt: line.prompt })
}
