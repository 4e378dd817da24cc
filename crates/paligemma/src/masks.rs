//! The mask VQ-VAE on the model's device: codes in, masks out, as plain data.

use std::path::Path;

use burn::tensor::{Int, Tensor, TensorData};
use paligemma_checkpoint::{Checkpoint, LoadError, find_masks, load_masks};
use paligemma_mask::{MaskVqVae, SIDE};
use paligemma_nn::NnBackend;
use paligemma_processor::CODES;

use crate::device::DeviceWork;
use crate::{DeviceSpec, Error, PaliGemma};

/// Makes masks of codes.
pub(crate) struct MaskModel(Box<dyn Decode>);

/// A mask VQ-VAE in plain data.
trait Decode: Send + Sync {
    /// How many codes there are.
    fn codes(&self) -> usize;

    /// Masks of 64 x 64 values, one after the other; `codes` is `[masks, 16]`.
    fn decode(&self, codes: Vec<i64>, masks: usize) -> Vec<f32>;
}

struct OnDevice<B: NnBackend> {
    vae: MaskVqVae<B>,
    device: B::Device,
}

struct Open<'a>(&'a Checkpoint);

impl DeviceWork for Open<'_> {
    type Output = Result<Box<dyn Decode>, LoadError>;

    fn run<B: NnBackend>(self, device: B::Device) -> Self::Output {
        let (vae, _) = load_masks(self.0, &device)?;
        Ok(Box::new(OnDevice::<B> { vae, device }))
    }
}

impl<B: NnBackend> Decode for OnDevice<B> {
    fn codes(&self) -> usize {
        self.vae.embedding().dims()[0]
    }

    fn decode(&self, codes: Vec<i64>, masks: usize) -> Vec<f32> {
        let codes = TensorData::new(codes, [masks, CODES]);
        let codes: Tensor<B, 2, Int> = Tensor::from_data(codes, &self.device);
        self.vae.decode(codes).into_data().iter::<f32>().collect()
    }
}

impl MaskModel {
    /// Opens a file's mask VQ-VAE on a device.
    pub(crate) fn open(checkpoint: &Checkpoint, device: DeviceSpec) -> Result<Self, Error> {
        Ok(Self(device.run(Open(checkpoint))??))
    }

    /// Whether there is a vector for each of these codes.
    pub(crate) fn knows(&self, codes: &[u8; CODES]) -> bool {
        codes.iter().all(|&code| usize::from(code) < self.0.codes())
    }

    /// The 64 x 64 values of each mask. The codes must be known.
    pub(crate) fn decode(&self, codes: &[[u8; CODES]]) -> Vec<Vec<f32>> {
        if codes.is_empty() {
            return Vec::new();
        }
        let flat = codes.as_flattened().iter().map(|&code| i64::from(code)).collect();
        let values = self.0.decode(flat, codes.len());
        values.chunks(SIDE * SIDE).map(<[f32]>::to_vec).collect()
    }
}

impl PaliGemma {
    /// The same model with the mask VQ-VAE in a file, npz or safetensors, which
    /// [`PaliGemma::segment`] needs. One that is in the model's folder under one of the
    /// names in [`paligemma_checkpoint::MASK_FILES`] is opened with it.
    ///
    /// # Errors
    /// If the file is no mask VQ-VAE.
    pub fn with_masks(self, path: &Path) -> Result<Self, Error> {
        self.with_mask_checkpoint(&Checkpoint::open(path)?)
    }

    /// The same model with the mask VQ-VAE in its folder, if there is one.
    pub(crate) fn with_masks_in(self, folder: &Path) -> Result<Self, Error> {
        match find_masks(folder) {
            Some(path) => self.with_masks(&path),
            None => Ok(self),
        }
    }

    /// The same model with the embedded mask VQ-VAE.
    pub(crate) fn with_embedded_masks(self) -> Result<Self, Error> {
        self.with_mask_checkpoint(&Checkpoint::from_static(crate::pocket::MASKS)?)
    }

    fn with_mask_checkpoint(mut self, checkpoint: &Checkpoint) -> Result<Self, Error> {
        self.masks = Some(MaskModel::open(checkpoint, self.device())?);
        Ok(self)
    }

    /// What makes masks of codes.
    ///
    /// # Errors
    /// If there is nothing.
    pub(crate) fn masks(&self) -> Result<&MaskModel, Error> {
        self.masks.as_ref().ok_or(Error::NoMasks)
    }

    /// Whether the model can make masks: whether it has a mask VQ-VAE.
    pub fn has_masks(&self) -> bool {
        self.masks.is_some()
    }
}
