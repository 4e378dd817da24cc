//! Writes a file of JSON lines, whole or not at all.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::whole;
use crate::{DataError, Example};

/// A row as it is written.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<&'a [String]>,
    prefix: &'a str,
    suffix: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    references: Option<&'a [String]>,
}

/// Writes rows that [`crate::read_jsonl`] reads as the same examples.
///
/// Pictures below the file's folder are named from there, so that both can be moved together;
/// others by their whole path.
///
/// # Errors
/// [`DataError::Write`] if the file cannot be written or a path is no text; then nothing is.
pub fn write_jsonl(path: &Path, examples: &[Example]) -> Result<(), DataError> {
    write(path, examples).map_err(|source| DataError::Write { path: path.to_owned(), source })
}

fn write(path: &Path, examples: &[Example]) -> io::Result<()> {
    let whole = std::path::absolute(path)?;
    let folder = whole.parent().unwrap_or(Path::new(""));
    let mut file = whole::beside(path)?;
    let mut out = BufWriter::new(file.as_file_mut());
    for Example { images, prefix, suffix, references } in examples {
        let names: Vec<String> =
            images.iter().map(|image| name(image, folder)).collect::<io::Result<_>>()?;
        let (image, images) = match &names[..] {
            [name] => (Some(name.as_str()), None),
            names => (None, Some(names)),
        };
        let several = references.len() != 1 || references[0] != *suffix;
        let references = several.then_some(references.as_slice());
        serde_json::to_writer(&mut out, &Row { image, images, prefix, suffix, references })?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    drop(out);
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// What a row calls a picture.
fn name(image: &Path, folder: &Path) -> io::Result<String> {
    let whole = std::path::absolute(image)?;
    let path: PathBuf = whole.strip_prefix(folder).map(Path::to_owned).unwrap_or(whole);
    let not_text = |path: PathBuf| {
        let message = format!("the name of the picture {} is not text in UTF-8", path.display());
        io::Error::new(io::ErrorKind::InvalidData, message)
    };
    path.into_os_string().into_string().map_err(|name| not_text(name.into()))
}
