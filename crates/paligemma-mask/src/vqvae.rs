//! The whole VQ-VAE: encoder, codes and decoder.

use burn::module::{Module, Param};
use burn::tensor::module::embedding;
use burn::tensor::{Int, Tensor};
use paligemma_nn::parameter::normal;
use paligemma_nn::{NnBackend, matmul};

use crate::{CODES_PER_MASK, Decoder, Encoder, GRID, MaskConfig};

/// Masks to codes and back.
///
/// Source: `big_vision` `evaluators/proj/paligemma/transfers/segmentation.py` (decoder) and
/// `pp/proj/paligemma/segmentation.py` (encoder).
#[derive(Module, Debug)]
pub struct MaskVqVae<B: NnBackend> {
    /// `[codes, latent]`
    embedding: Param<Tensor<B, 2>>,
    encoder: Encoder<B>,
    decoder: Decoder<B>,
}

impl<B: NnBackend> MaskVqVae<B> {
    /// A VQ-VAE with lazy, random parameters: nothing is allocated until they are read.
    pub fn new(config: &MaskConfig, device: &B::Device) -> Self {
        Self {
            embedding: normal([config.codes, config.latent], 1.0, device),
            encoder: Encoder::new(config, device),
            decoder: Decoder::new(config, device),
        }
    }

    /// The vectors of the codes.
    ///
    /// # Shapes
    /// - output: `[codes, D]`
    pub fn embedding(&self) -> Tensor<B, 2> {
        self.embedding.val()
    }

    /// The same VQ-VAE with other vectors of its codes, as training moves them.
    ///
    /// # Shapes
    /// - `embedding`: `[codes, D]`
    #[must_use]
    pub fn with_embedding(self, embedding: Tensor<B, 2>) -> Self {
        Self { embedding: self.embedding.map(|_| embedding), ..self }
    }

    /// A vector for each place of the grid, before it is replaced by the nearest code's.
    ///
    /// # Shapes
    /// - `masks`: `[B, 1, 64, 64]` in 0..1, 1 where the thing is
    /// - output: `[B, D, 4, 4]`
    pub fn latents(&self, masks: Tensor<B, 4>) -> Tensor<B, 4> {
        self.encoder.forward(masks)
    }

    /// The nearest code to each vector, by Euclidean distance; row by row of the grid.
    ///
    /// # Shapes
    /// - `latents`: `[B, D, 4, 4]`
    /// - output: `[B, 16]`, each below the number of codes
    pub fn quantise(&self, latents: Tensor<B, 4>) -> Tensor<B, 2, Int> {
        let [batch, width, ..] = latents.dims();
        let vectors = latents.permute([0, 2, 3, 1]).reshape([batch * CODES_PER_MASK, width]);
        let codes = self.embedding.val();
        let lengths = codes.clone().powi_scalar(2).sum_dim(1).transpose();
        // |v - e|^2 without |v|^2, which is the same for every code.
        let distances = lengths - matmul(vectors, codes.transpose()) * 2.0;
        distances.argmin(1).reshape([batch, CODES_PER_MASK])
    }

    /// The codes of masks.
    ///
    /// # Shapes
    /// - `masks`: `[B, 1, 64, 64]` in 0..1, 1 where the thing is
    /// - output: `[B, 16]`, each below the number of codes
    pub fn codes(&self, masks: Tensor<B, 4>) -> Tensor<B, 2, Int> {
        self.quantise(self.latents(masks))
    }

    /// The vectors of codes, on the grid.
    ///
    /// # Shapes
    /// - `codes`: `[B, 16]`, each below the number of codes
    /// - output: `[B, D, 4, 4]`
    pub fn embed(&self, codes: Tensor<B, 2, Int>) -> Tensor<B, 4> {
        let vectors = embedding(self.embedding.val(), codes);
        let [batch, _, width] = vectors.dims();
        vectors.reshape([batch, GRID, GRID, width]).permute([0, 3, 1, 2])
    }

    /// The masks of vectors on the grid.
    ///
    /// # Shapes
    /// - `latents`: `[B, D, 4, 4]`
    /// - output: `[B, 1, 64, 64]`, about -1..1, positive where the thing is
    pub fn decode_latents(&self, latents: Tensor<B, 4>) -> Tensor<B, 4> {
        self.decoder.forward(latents)
    }

    /// The masks of codes.
    ///
    /// # Shapes
    /// - `codes`: `[B, 16]`, each below the number of codes
    /// - output: `[B, 1, 64, 64]`, about -1..1, positive where the thing is
    pub fn decode(&self, codes: Tensor<B, 2, Int>) -> Tensor<B, 4> {
        self.decode_latents(self.embed(codes))
    }
}
