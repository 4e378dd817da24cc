//! Pictures as files, written as a whole or not at all.

use std::collections::HashSet;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use paligemma::image::{DynamicImage, ImageFormat};

use crate::error::Error;

/// A picture file to be written, whose format and folder are known to be good.
#[derive(Debug)]
pub(crate) struct OutFile {
    path: PathBuf,
    format: ImageFormat,
}

impl OutFile {
    /// Checks the name, of which the extension is the format, and that it is not that of the `picture`
    /// that is drawn into.
    pub(crate) fn new(path: PathBuf, picture: &Path) -> Result<Self, Error> {
        let writable = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP];
        let format = ImageFormat::from_path(&path).ok().filter(|format| writable.contains(format));
        let Some(format) = format else { return Err(Error::PictureName { path }) };
        check_folder(&path)?;
        let is_picture = fs::canonicalize(&path)
            .is_ok_and(|out| fs::canonicalize(picture).is_ok_and(|picture| picture == out));
        if is_picture {
            return Err(Error::OverPicture { path });
        }
        Ok(Self { path, format })
    }

    /// Writes the picture, so that no half of it is ever seen.
    pub(crate) fn write(&self, picture: impl Into<DynamicImage>) -> Result<(), Error> {
        write(&self.path, self.format, &picture.into())
    }
}

/// A folder for results, which is made when it is needed.
#[derive(Debug)]
pub(crate) struct OutFolder {
    path: PathBuf,
}

impl OutFolder {
    /// Checks that there can be such a folder.
    pub(crate) fn new(path: PathBuf) -> Result<Self, Error> {
        check_folder(&path)?;
        if path.exists() && !path.is_dir() {
            return Err(Error::NotAFolder { path });
        }
        Ok(Self { path })
    }

    /// Makes it, if it is not there.
    pub(crate) fn make(&self) -> Result<&Path, Error> {
        let failed = |source| Error::Write { path: self.path.clone(), source };
        fs::create_dir_all(&self.path).map_err(failed)?;
        Ok(&self.path)
    }

    /// Writes pictures as PNG, each by its name without an ending, and then takes away files with
    /// names that are `stale` and not among those just written.
    pub(crate) fn write(
        &self,
        pictures: impl IntoIterator<Item = (String, DynamicImage)>,
        stale: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let failed = |source| Error::Write { path: self.path.clone(), source };
        let folder = self.make()?;
        let mut written = HashSet::new();
        for (name, picture) in pictures {
            let name = name + ".png";
            write(&folder.join(&name), ImageFormat::Png, &picture)?;
            written.insert(name);
        }
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| stale(name) && !written.contains(name)) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(())
    }
}

fn write(path: &Path, format: ImageFormat, picture: &DynamicImage) -> Result<(), Error> {
    let mut bytes = Cursor::new(Vec::new());
    let encoded = picture.write_to(&mut bytes, format);
    encoded.map_err(|source| Error::Encode { path: path.to_owned(), source })?;
    let written = paligemma_files::write(path, bytes.get_ref());
    written.map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Refuses a place for a file or folder where there is no folder to hold it.
pub(crate) fn check_folder(path: &Path) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folder.is_dir()) {
        return Err(Error::NoFolder { path: path.to_owned() });
    }
    Ok(())
}
