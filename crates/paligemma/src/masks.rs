//! The mask VQ-VAE on a device: codes to masks and masks to codes, as plain data.

use std::path::Path;

use burn::tensor::{Int, Tensor, TensorData};
use paligemma_checkpoint::{Checkpoint, LoadError, find_masks, load_masks};
use paligemma_mask::{MaskVqVae, SIDE};
use paligemma_nn::NnBackend;
use paligemma_processor::CODES;

use crate::device::DeviceWork;
use crate::{DeviceSpec, Error, PaliGemma};

/// A mask VQ-VAE: makes masks of codes, and codes of masks to train with.
pub struct MaskModel(Box<dyn Codec>);

/// A mask VQ-VAE in plain data.
trait Codec: Send + Sync {
    /// How many codes there are.
    fn codes(&self) -> usize;

    /// Masks of 64 x 64 values, one after the other; `codes` is `[masks, 16]`.
    fn decode(&self, codes: Vec<i64>, masks: usize) -> Vec<f32>;

    /// The codes of masks, `[masks, 16]` one after the other; `values` is `[masks, 64, 64]`.
    fn encode(&self, values: Vec<f32>, masks: usize) -> Vec<u8>;
}

struct OnDevice<B: NnBackend> {
    vae: MaskVqVae<B>,
    device: B::Device,
}

struct Open<'a>(&'a Checkpoint);

impl DeviceWork for Open<'_> {
    type Output = Result<Box<dyn Codec>, LoadError>;

    fn run<B: NnBackend>(self, device: B::Device) -> Self::Output {
        let (vae, _) = load_masks(self.0, &device)?;
        Ok(Box::new(OnDevice::<B> { vae, device }))
    }
}

impl<B: NnBackend> Codec for OnDevice<B> {
    fn codes(&self) -> usize {
        self.vae.embedding().dims()[0]
    }

    fn decode(&self, codes: Vec<i64>, masks: usize) -> Vec<f32> {
        let codes = TensorData::new(codes, [masks, CODES]);
        let codes: Tensor<B, 2, Int> = Tensor::from_data(codes, &self.device);
        self.vae.decode(codes).into_data().iter::<f32>().collect()
    }

    fn encode(&self, values: Vec<f32>, masks: usize) -> Vec<u8> {
        let values = TensorData::new(values, [masks, 1, SIDE, SIDE]);
        let values: Tensor<B, 4> = Tensor::from_data(values, &self.device);
        self.vae.codes(values).into_data().iter::<u8>().collect()
    }
}

impl MaskModel {
    /// Opens the mask VQ-VAE in a file, npz or safetensors, or in a model's folder, under one of
    /// the names in [`paligemma_checkpoint::MASK_FILES`].
    ///
    /// # Errors
    /// If there is none.
    pub fn load(path: &Path, device: DeviceSpec) -> Result<Self, Error> {
        let file = if path.is_dir() { find_masks(path) } else { Some(path.to_owned()) };
        Self::open(&Checkpoint::open(&file.ok_or(Error::NoMasks)?)?, device)
    }

    /// Opens that of the embedded model.
    ///
    /// # Errors
    /// If the device is not there.
    pub fn pocket(device: DeviceSpec) -> Result<Self, Error> {
        Self::open(&Checkpoint::from_static(crate::pocket::MASKS)?, device)
    }

    /// The codes of masks, each of 64 x 64 values in 0..=1, 1 where the thing is.
    ///
    /// # Panics
    /// If a mask has another number of values.
    pub fn encode(&self, masks: &[Vec<f32>]) -> Vec<[u8; CODES]> {
        if masks.is_empty() {
            return Vec::new();
        }
        assert!(masks.iter().all(|mask| mask.len() == SIDE * SIDE), "64 x 64 values");
        self.0.encode(masks.concat(), masks.len()).as_chunks().0.to_vec()
    }

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
