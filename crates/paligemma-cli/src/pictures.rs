//! Any number of pictures, read one after the other.

use std::fs::File;
use std::path::{Path, PathBuf};

use paligemma::image::RgbImage;
use paligemma::{Error as ModelError, PaliGemma, Scene};
use paligemma_processor::{PictureError, open_picture};

use crate::args::ModelArgs;
use crate::error::Error;

/// Opens a model for pictures, after asking what is quickly known: whether they are there.
pub(crate) fn open_model(pictures: &[PathBuf], model: &ModelArgs) -> Result<PaliGemma, Error> {
    for path in pictures {
        let missing = |source| PictureError::Read { path: path.clone(), source };
        File::open(path).map_err(missing).map_err(ModelError::from)?;
    }
    model.check()?;
    model.open(&model.locate()?)
}

/// Reads a picture.
pub(crate) fn read(path: &Path) -> Result<RgbImage, Error> {
    Ok(open_picture(path).map_err(ModelError::from)?)
}

/// Reads and encodes a picture.
pub(crate) fn encode(model: &PaliGemma, path: &Path) -> Result<Scene, Error> {
    Ok(model.encode(&[read(path)?]))
}

/// A picture's name as it is shown.
pub(crate) fn name(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
