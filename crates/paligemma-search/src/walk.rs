//! The pictures of a folder, and their state.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use paligemma_processor::pictures_below;

use crate::SearchError;
use crate::shard::{FileState, is_plain};
use crate::update::Failed;

/// The pictures below `folder`, and what cannot be taken.
pub(crate) fn pictures(folder: &Path) -> Result<(Vec<FileState>, Vec<Failed>), SearchError> {
    let files = pictures_below(folder)
        .map_err(|source| SearchError::Read { path: folder.to_owned(), source })?;
    let unreadable = files.unreadable.into_iter();
    let mut failed: Vec<Failed> =
        unreadable.map(|(path, error)| Failed { path, error: error.to_string() }).collect();
    let mut found = Vec::with_capacity(files.pictures.len());
    for path in files.pictures {
        match state(folder, &path) {
            Ok(state) => found.push(state),
            Err(error) => failed.push(Failed { path, error }),
        }
    }
    Ok((found, failed))
}

/// Where a picture lies.
pub(crate) fn path(folder: &Path, file: &str) -> PathBuf {
    let mut path = folder.to_owned();
    path.extend(file.split('/'));
    path
}

fn state(folder: &Path, file: &Path) -> Result<FileState, String> {
    let inside = file.strip_prefix(folder).unwrap_or(file);
    let names: Option<Vec<&str>> = inside.iter().map(|name| name.to_str()).collect();
    let path = names.map(|names| names.join("/")).filter(|path| is_plain(path));
    let path = path.ok_or("its name is not plain Unicode text: rename it")?;
    // Of the file, where the entry is a link.
    let metadata = std::fs::metadata(file).map_err(|error| error.to_string())?;
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified = modified.map_or(0, |since| since.as_nanos() as u64);
    Ok(FileState { path, bytes: metadata.len(), modified })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn pictures_are_found_in_order_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("b/c")).unwrap();
        for name in ["z.PNG", "a.jpeg", "b/c/x.webp", "b/n.txt", "pictures-000001.safetensors"] {
            fs::write(at(name), name).unwrap();
        }
        let (found, failed) = pictures(folder.path()).unwrap();
        let names: Vec<&str> = found.iter().map(|file| file.path.as_str()).collect();
        assert_eq!((names, failed.len()), (vec!["a.jpeg", "b/c/x.webp", "z.PNG"], 0));
        assert_eq!(found[1].bytes, 10);
        assert_eq!(path(folder.path(), "b/c/x.webp"), at("b/c/x.webp"));
        assert!(pictures(&at("none")).is_err());
    }

    #[test]
    #[cfg(unix)]
    fn what_cannot_be_taken_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink(at("gone"), at("gone.png")).unwrap();
        fs::write(at("line\nbreak.png"), "").unwrap();
        let (found, failed) = pictures(folder.path()).unwrap();
        let paths: Vec<PathBuf> = failed.iter().map(|failed| failed.path.clone()).collect();
        assert_eq!((found.len(), paths), (0, vec![at("gone.png"), at("line\nbreak.png")]));
    }
}
