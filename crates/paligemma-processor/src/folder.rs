//! Pictures in a folder, in the order that people number them.

use std::io;
use std::path::{Path, PathBuf};

use image::ImageFormat;
use walkdir::{DirEntry, WalkDir};

/// Whether a file's name ends as that of a picture that can be read. Hidden files are none.
pub fn is_picture_name(path: &Path) -> bool {
    !path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
        && ImageFormat::from_path(path).is_ok_and(|format| format.reading_enabled())
}

/// What a folder holds.
#[derive(Debug, Default)]
pub struct PictureFiles {
    /// The pictures, known by their names, in their natural order. A link that leads nowhere is one
    /// if its name says so.
    pub pictures: Vec<PathBuf>,
    /// Folders within that cannot be listed, and why.
    pub unreadable: Vec<(PathBuf, io::Error)>,
}

/// The pictures directly in a folder.
///
/// # Errors
/// If it cannot be listed.
pub fn pictures_in(folder: &Path) -> io::Result<PictureFiles> {
    walk(folder, 1)
}

/// The pictures in a folder and in all folders within, but for hidden ones. Links are followed; one
/// that leads back to a folder around it adds nothing.
///
/// # Errors
/// If the folder itself cannot be listed.
pub fn pictures_below(folder: &Path) -> io::Result<PictureFiles> {
    walk(folder, usize::MAX)
}

/// Puts paths in the natural order of their names: `frame2` before `frame10`.
pub fn sort_naturally(paths: &mut [PathBuf]) {
    // Names that differ only in leading zeros are equal in that order.
    paths.sort_by(|a, b| alphanumeric_sort::compare_path(a, b).then_with(|| a.cmp(b)));
}

fn walk(folder: &Path, depth: usize) -> io::Result<PictureFiles> {
    // A walk of what is no folder would be of that file alone.
    folder.read_dir()?;
    let hidden = |entry: &DirEntry| entry.file_name().as_encoded_bytes().starts_with(b".");
    let entries = WalkDir::new(folder).max_depth(depth).follow_links(true).into_iter();
    let mut found = PictureFiles::default();
    for entry in entries.filter_entry(|entry| entry.depth() == 0 || !hidden(entry)) {
        match entry {
            Ok(entry) if entry.file_type().is_file() => found.pictures.push(entry.into_path()),
            Ok(_) => {}
            Err(error) if error.loop_ancestor().is_some() => {}
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_owned();
                // A link that leads nowhere has no kind, but a name.
                let is_link = path.symlink_metadata().is_ok_and(|entry| entry.is_symlink());
                if is_link && path.metadata().is_err() {
                    found.pictures.push(path);
                } else {
                    found.unreadable.push((path, error.into()));
                }
            }
        }
    }
    found.pictures.retain(|path| is_picture_name(path));
    sort_naturally(&mut found.pictures);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(folder: &Path, found: &PictureFiles) -> Vec<String> {
        let name = |path: &PathBuf| path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        found.pictures.iter().map(name).collect()
    }

    #[test]
    fn pictures_are_found_in_order_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("2/c")).unwrap();
        fs::create_dir_all(at(".git")).unwrap();
        for name in [
            "10.PNG",
            "9.jpeg",
            "2/c/x.webp",
            "2/n.txt",
            "2/x",
            ".git/a.png",
            ".a.png",
            "x.png.part",
        ] {
            fs::write(at(name), name).unwrap();
        }
        fs::create_dir(at("11.png")).unwrap();
        let below = pictures_below(folder.path()).unwrap();
        assert_eq!(names(folder.path(), &below), ["2/c/x.webp", "9.jpeg", "10.PNG"]);
        assert!(below.unreadable.is_empty());
        let direct = pictures_in(folder.path()).unwrap();
        assert_eq!(names(folder.path(), &direct), ["9.jpeg", "10.PNG"]);
        assert!(pictures_below(&at("none")).is_err() && pictures_in(&at("9.jpeg")).is_err());
    }

    #[test]
    #[cfg(unix)]
    fn links_are_followed_and_those_to_nowhere_are_kept_by_name() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("in")).unwrap();
        fs::write(other.path().join("far.png"), "").unwrap();
        symlink(other.path(), at("other")).unwrap();
        symlink(folder.path(), at("in/around")).unwrap();
        symlink(at("gone"), at("gone.png")).unwrap();
        symlink(at("gone"), at("gone.txt")).unwrap();
        symlink(at("self.png"), at("self.png")).unwrap();
        let found = pictures_below(folder.path()).unwrap();
        assert_eq!(names(folder.path(), &found), ["gone.png", "other/far.png", "self.png"]);
        assert!(found.unreadable.is_empty(), "{found:?}");
    }

    #[test]
    #[cfg(unix)]
    fn a_folder_that_cannot_be_listed_leaves_the_others() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("locked")).unwrap();
        fs::write(at("a.png"), "").unwrap();
        fs::set_permissions(at("locked"), fs::Permissions::from_mode(0o000)).unwrap();
        let found = pictures_below(folder.path()).unwrap();
        assert_eq!(names(folder.path(), &found), ["a.png"]);
        // A superuser may list it.
        if at("locked").read_dir().is_err() {
            assert_eq!(found.unreadable[0].0, at("locked"));
        }
        fs::set_permissions(at("locked"), fs::Permissions::from_mode(0o700)).unwrap();
    }
}
