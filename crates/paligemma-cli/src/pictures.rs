//! Any number of pictures, read one after the other; one that cannot be read is left out.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use paligemma::image::RgbImage;
use paligemma::{Error as ModelError, PaliGemma, Scene};
use paligemma_processor::{PictureError, open_picture};

use crate::args::ModelArgs;
use crate::error::Error;

/// A picture's name, and what came of it or why nothing did.
pub(crate) type Outcome<T> = (String, Result<T, String>);

/// Opens a model for pictures, after asking what is quickly known: whether any of them is there.
pub(crate) fn open_model(pictures: &[PathBuf], model: &ModelArgs) -> Result<PaliGemma, Error> {
    check_any(pictures)?;
    model.begin()?;
    model.open(&model.locate()?)
}

/// Refuses pictures none of which is there.
pub(crate) fn check_any(pictures: &[PathBuf]) -> Result<(), Error> {
    let there = |path: &PathBuf| {
        let missing = |source| PictureError::Read { path: path.clone(), source };
        File::open(path).map_err(missing)
    };
    let mut opened = pictures.iter().map(there);
    if let Some(Err(error)) = opened.next()
        && opened.all(|file| file.is_err())
    {
        return Err(ModelError::from(error).into());
    }
    Ok(())
}

/// Does something with each picture. Of one that cannot be read that is said at once, on a line of
/// its own, and the others go on; what else goes wrong ends it all.
pub(crate) fn each<T>(
    paths: &[PathBuf],
    mut work: impl FnMut(&Path) -> Result<T, Error>,
) -> Result<Vec<Outcome<T>>, Error> {
    let outcome = |path: &PathBuf| match work(path) {
        Ok(value) => Ok((name(path), Ok(value))),
        Err(error @ Error::Model(ModelError::Picture(_))) => {
            let line = error.line();
            // Where the standard error is closed, the status is left to speak.
            writeln!(std::io::stderr(), "error: {line}").ok();
            Ok((name(path), Err(line)))
        }
        Err(error) => Err(error),
    };
    paths.iter().map(outcome).collect()
}

/// Whether the run failed, when all that there is was shown: if any picture could not be read.
pub(crate) fn conclude<T>(outcomes: &[Outcome<T>]) -> Result<(), Error> {
    if outcomes.iter().all(|(_, outcome)| outcome.is_ok()) { Ok(()) } else { Err(Error::Reported) }
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
