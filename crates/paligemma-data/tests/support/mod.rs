//! Folders to import from, and what is wrong with them.

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use paligemma_data::DataError;
use paligemma_processor::image::RgbImage;

/// Writes a picture of this size, and the folders that it lies in.
pub(crate) fn picture(path: &Path, width: u32, height: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::new(width, height).save(path).unwrap();
}

/// The faults, as they are told, without the folder.
#[track_caller]
pub(crate) fn faults<T: Debug>(folder: &Path, outcome: Result<T, DataError>) -> Vec<String> {
    match outcome {
        Err(DataError::Faults { faults, total }) => {
            assert_eq!(faults.len(), total);
            let within = format!("{}/", folder.display());
            faults.iter().map(|fault| fault.to_string().replace(&within, "")).collect()
        }
        other => panic!("{other:?}"),
    }
}
