//! The pictures of a folder.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use walkdir::{DirEntry, WalkDir};

use crate::shard::{FileState, is_plain};
use crate::update::Failed;

/// Endings of the formats that can be read.
const ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff"];

/// The picture files below `folder`, known by their endings, sorted by name folder by folder; and
/// those that cannot be taken. Links to folders are not followed, so that no walk is endless.
pub(crate) fn pictures(folder: &Path) -> (Vec<FileState>, Vec<Failed>) {
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let state = match &entry {
            Ok(entry) if !is_picture(entry) => continue,
            Ok(entry) => state(folder, entry).map_err(|error| (entry.path().to_owned(), error)),
            Err(error) => {
                let path = error.path().map_or_else(|| folder.to_owned(), Path::to_owned);
                Err((path, error.to_string()))
            }
        };
        match state {
            Ok(state) => found.push(state),
            Err((path, error)) => failed.push(Failed { path, error }),
        }
    }
    (found, failed)
}

/// Where a picture lies.
pub(crate) fn path(folder: &Path, file: &str) -> PathBuf {
    let mut path = folder.to_owned();
    path.extend(file.split('/'));
    path
}

fn is_picture(entry: &DirEntry) -> bool {
    let ending = entry.path().extension().and_then(|ending| ending.to_str());
    let known = |ending: &str| ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending));
    !entry.file_type().is_dir() && ending.is_some_and(known)
}

fn state(folder: &Path, entry: &DirEntry) -> Result<FileState, String> {
    let inside = entry.path().strip_prefix(folder).unwrap_or(entry.path());
    let names: Option<Vec<&str>> = inside.iter().map(|name| name.to_str()).collect();
    let path = names.map(|names| names.join("/")).filter(|path| is_plain(path));
    let path = path.ok_or("its name is not plain Unicode text: rename it")?;
    // Of the file, where the entry is a link.
    let metadata = std::fs::metadata(entry.path()).map_err(|error| error.to_string())?;
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
        for name in
            ["z.PNG", "a.jpeg", "b/c/x.webp", "b/n.txt", "b/x", "pictures-000001.safetensors"]
        {
            fs::write(at(name), name).unwrap();
        }
        let (found, failed) = pictures(folder.path());
        let names: Vec<&str> = found.iter().map(|file| file.path.as_str()).collect();
        assert_eq!((names, failed.len()), (vec!["a.jpeg", "b/c/x.webp", "z.PNG"], 0));
        assert_eq!(found[1].bytes, 10);
        assert_eq!(path(folder.path(), "b/c/x.webp"), at("b/c/x.webp"));
        let (found, failed) = pictures(&at("none"));
        assert_eq!((found.len(), failed.len()), (0, 1));
    }
}
