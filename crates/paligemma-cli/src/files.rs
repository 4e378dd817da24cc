//! Pictures as files, written as a whole or not at all.

use std::io::{self, Cursor};
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
    /// Checks the name, of which the extension is the format.
    pub(crate) fn new(path: PathBuf) -> Result<Self, Error> {
        let writable = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP];
        let format = ImageFormat::from_path(&path).ok().filter(|format| writable.contains(format));
        let Some(format) = format else { return Err(Error::PictureName { path }) };
        check_folder(&path)?;
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
        let made = std::fs::create_dir_all(&self.path);
        made.map_err(|source| Error::Write { path: self.path.clone(), source })?;
        Ok(&self.path)
    }

    /// Writes pictures as PNG, each by its name without an ending.
    pub(crate) fn write<P: Into<DynamicImage>>(
        &self,
        pictures: impl IntoIterator<Item = (String, P)>,
    ) -> Result<(), Error> {
        let folder = self.make()?;
        pictures.into_iter().try_for_each(|(name, picture)| {
            write(&folder.join(name + ".png"), ImageFormat::Png, &picture.into())
        })
    }
}

fn write(path: &Path, format: ImageFormat, picture: &DynamicImage) -> Result<(), Error> {
    let mut bytes = Cursor::new(Vec::new());
    let encoded = picture.write_to(&mut bytes, format);
    encoded.map_err(|source| Error::Encode { path: path.to_owned(), source })?;
    let written = replace(path, bytes.get_ref());
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

/// Writes a file beside its place and moves it there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let part = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
    let done = std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, path));
    if done.is_err() {
        // The first error is the one to tell.
        std::fs::remove_file(&part).ok();
    }
    done
}
