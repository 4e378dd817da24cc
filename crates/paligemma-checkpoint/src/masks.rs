//! Mask VQ-VAEs: their sizes out of their files, their files into modules, and back.

use std::path::{Path, PathBuf};

use burn::tensor::FloatDType;
use paligemma_mask::{MaskConfig, MaskVqVae};
use paligemma_nn::NnBackend;

use crate::checkpoint::Checkpoint;
use crate::layout::MASK_LAYOUT;
use crate::load::{LoadError, load_module};
use crate::report::LoadReport;
use crate::save::{SaveError, collect};
use crate::write::write_file;

/// What a mask VQ-VAE's file is called in the folder of a checkpoint: as published, converted, or
/// trained with the checkpoint.
pub const MASK_FILES: [&str; 3] = ["vae-oid.npz", "vae-oid.safetensors", "masks.safetensors"];

/// The file of the mask VQ-VAE in the folder of a checkpoint, if there is one.
pub fn find_masks(folder: &Path) -> Option<PathBuf> {
    MASK_FILES.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

/// A mask VQ-VAE of the sizes that its file has, in f32.
///
/// # Errors
///
/// If the file is no mask VQ-VAE: a tensor is missing, unknown, or does not fit the others.
pub fn load_masks<B: NnBackend>(
    checkpoint: &Checkpoint,
    device: &B::Device,
) -> Result<(MaskVqVae<B>, LoadReport), LoadError> {
    let config = sizes(checkpoint)?;
    load_module(MaskVqVae::new(&config, device), checkpoint, "", Some(FloatDType::F32))
}

/// Writes a mask VQ-VAE as safetensors, under the published names.
///
/// # Errors
///
/// If the file cannot be written, or the device fails. There is then no new file.
pub fn save_masks<B: NnBackend>(
    masks: &MaskVqVae<B>,
    path: impl AsRef<Path>,
) -> Result<(), SaveError> {
    write_file(path.as_ref(), collect::<B, _>(masks, None, MASK_LAYOUT.names())?)
}

fn sizes(checkpoint: &Checkpoint) -> Result<MaskConfig, LoadError> {
    // An axis that is not there, or has no length, is refused when the module is loaded.
    let axis = |path: &str, axis: usize| {
        let missing = || LoadError::Missing {
            tensor: MASK_LAYOUT.file_name(path).unwrap_or_default(),
            more: 0,
            nearest: None,
        };
        let tensor = checkpoint.tensors.get(path).ok_or_else(missing)?;
        Ok(tensor.shape.get(axis).copied().unwrap_or(1).max(1))
    };
    let halving = |index: usize| axis(&format!("encoder.halvings.{index}.weight"), 0);
    let doubling = |index: usize| axis(&format!("decoder.doublings.{index}.weight"), 1);
    Ok(MaskConfig {
        codes: axis("embedding", 0)?,
        latent: axis("embedding", 1)?,
        encoder: [halving(0)?, halving(1)?, halving(2)?, halving(3)?],
        decoder: [
            axis("decoder.input.weight", 0)?,
            doubling(0)?,
            doubling(1)?,
            doubling(2)?,
            doubling(3)?,
        ],
    })
}
