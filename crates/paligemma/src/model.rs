//! The model: vision tower, projector and decoder.

use burn::module::Module;
use burn::tensor::{Int, Tensor};
use paligemma_checkpoint::{
    AdapterError, AdapterFile, Checkpoint, LoadError, LoadReport, PaliGemmaConfig, Progress,
    load_module, load_packed,
};
use paligemma_gemma::{Gemma, GemmaConfig};
use paligemma_nn::{NnBackend, PackedFormat, Projection, Projections, Walk};
use paligemma_siglip::{Siglip, SiglipConfig};

use crate::Storage;

/// Picture features in the decoder's width.
#[derive(Module, Debug)]
pub struct Projector<B: NnBackend> {
    linear: Projection<B>,
}

/// The weights of a PaliGemma. Every method takes `&self`: a model serves any number of requests.
#[derive(Module, Debug)]
pub struct Model<B: NnBackend> {
    vision_tower: Siglip<B>,
    multi_modal_projector: Projector<B>,
    language_model: Gemma<B>,
}

impl<B: NnBackend> Projector<B> {
    /// A projector with lazy, random parameters.
    pub fn new(vision: usize, text: usize, device: &B::Device) -> Self {
        Self { linear: Projection::with_bias(vision, text, device) }
    }

    /// Projects features to the decoder's width.
    ///
    /// # Shapes
    /// - `features`: `[B, N, D_vision]`
    /// - output: `[B, N, D_text]`
    pub fn forward(&self, features: Tensor<B, 3>) -> Tensor<B, 3> {
        self.linear.forward(features)
    }
}

impl<B: NnBackend> Model<B> {
    /// A model with lazy, random parameters: nothing is allocated until they are read.
    pub fn new(vision: &SiglipConfig, text: &GemmaConfig, device: &B::Device) -> Self {
        Self {
            vision_tower: Siglip::new(vision, device),
            multi_modal_projector: Projector::new(vision.hidden_size, text.hidden_size, device),
            language_model: Gemma::new(text, device),
        }
    }

    /// The model of a checkpoint, held as `storage` says; `progress` is told of every tensor that
    /// is packed.
    ///
    /// # Errors
    /// If the weights do not fit the configuration or the storage, or the device does not compute
    /// in its type.
    pub fn load(
        config: &PaliGemmaConfig,
        checkpoint: &Checkpoint,
        storage: Storage,
        device: &B::Device,
        progress: impl FnMut(Progress<'_>),
    ) -> Result<(Self, LoadReport), LoadError> {
        let empty = Self::new(&config.vision, &config.text, device);
        match storage {
            Storage::Dense(dtype) => load_module(empty, checkpoint, "", Some(dtype)),
            Storage::Packed(format) => load_packed(empty, checkpoint, "", format, progress),
        }
    }

    /// The same model with an adapter ([`AdapterFile::merge`]).
    ///
    /// # Errors
    /// If the adapter is not for a model of these shapes.
    pub fn adapted(self, adapter: &AdapterFile) -> Result<Self, AdapterError> {
        adapter.merge(self)
    }

    /// A model of these parts.
    pub fn from_parts(
        vision_tower: Siglip<B>,
        multi_modal_projector: Projector<B>,
        language_model: Gemma<B>,
    ) -> Self {
        Self { vision_tower, multi_modal_projector, language_model }
    }

    /// The parts of the model.
    pub fn into_parts(self) -> (Siglip<B>, Projector<B>, Gemma<B>) {
        (self.vision_tower, self.multi_modal_projector, self.language_model)
    }

    /// The vision tower.
    pub fn vision_tower(&self) -> &Siglip<B> {
        &self.vision_tower
    }

    /// The projector.
    pub fn projector(&self) -> &Projector<B> {
        &self.multi_modal_projector
    }

    /// The decoder.
    pub fn language_model(&self) -> &Gemma<B> {
        &self.language_model
    }

    /// Picture features as the decoder reads them; they may serve any number of prompts.
    ///
    /// # Shapes
    /// - `pixels`: `[I, 3, H, W]` in -1..1
    /// - output: `[I, N, D]`
    pub fn encode(&self, pixels: Tensor<B, 4>) -> Tensor<B, 3> {
        self.multi_modal_projector.forward(self.vision_tower.forward(pixels))
    }

    /// The decoder's input: features first, then the tokens' embeddings.
    ///
    /// Only tokens are scaled by `sqrt(D)`; features join as the projector made them
    /// (big_vision `models/proj/paligemma/paligemma.py`, `embed_image_and_text`).
    ///
    /// # Shapes
    /// - `features`: `[B, N, D]`
    /// - `ids`: `[B, T]`
    /// - output: `[B, N + T, D]`
    pub fn embed(&self, features: Tensor<B, 3>, ids: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        Tensor::cat(vec![features, self.language_model.embed(ids)], 1)
    }
}

impl<B: NnBackend> Projections<B> for Projector<B> {
    fn map_projections(self, walk: &mut Walk<'_, B>) -> Self {
        Self { linear: walk.part("linear", self.linear) }
    }
}

impl<B: NnBackend> Projections<B> for Model<B> {
    fn map_projections(self, walk: &mut Walk<'_, B>) -> Self {
        Self {
            vision_tower: walk.part("vision_tower", self.vision_tower),
            multi_modal_projector: walk.part("multi_modal_projector", self.multi_modal_projector),
            language_model: walk.part("language_model", self.language_model),
        }
    }

    /// With 4 bits, the tower and the projector have 8: a picture passes them once, where every
    /// token reads the whole decoder, and it is there that 4 bits cost answers (docs/numerics.md).
    fn packed(self, format: PackedFormat) -> Self {
        let vision = match format {
            PackedFormat::Int4 => PackedFormat::Int8,
            format => format,
        };
        Self {
            vision_tower: self.vision_tower.packed(vision),
            multi_modal_projector: self.multi_modal_projector.packed(vision),
            language_model: self.language_model.packed(format),
        }
    }
}
