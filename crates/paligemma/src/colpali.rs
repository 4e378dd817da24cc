//! `ColPali`: a vector for every token of a page or a query, and how well one answers the other.

use burn::module::Module;
use burn::tensor::{DType, Tensor};
use paligemma_checkpoint::{
    Checkpoint, ColPaliConfig, LoadError, Progress, load_module, load_packed,
};
use paligemma_nn::{NnBackend, PackedFormat, PrefixMask, Projection, Projections, Walk};

use crate::session::ids;
use crate::{Model, Storage};

/// A PaliGemma whose last hidden states a head turns into directions.
///
/// Source: transformers `modeling_colpali.py`.
#[derive(Module, Debug)]
pub struct ColPali<B: NnBackend> {
    vlm: Model<B>,
    embedding_proj_layer: Projection<B>,
}

/// A vector of length 1 for every token of a page or a query, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiVector {
    /// Numbers of each vector.
    pub width: usize,
    /// All vectors.
    pub values: Vec<f32>,
}

impl MultiVector {
    /// How well a page answers this query: for each of the query's vectors the largest product
    /// with one of the page's, summed up (late interaction; ColBERT's MaxSim, as
    /// `ColPaliProcessor.score_retrieval` has it).
    pub fn score(&self, page: &Self) -> f32 {
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let best = |query: &[f32]| {
            let products = page.values.chunks(page.width).map(|vector| product(query, vector));
            products.fold(f32::NEG_INFINITY, f32::max)
        };
        self.values.chunks(self.width).map(best).sum()
    }
}

impl<B: NnBackend> ColPali<B> {
    /// A model whose weights are made when they are first used.
    pub fn new(config: &ColPaliConfig, device: &B::Device) -> Self {
        let width = config.vlm.text.hidden_size;
        Self {
            vlm: Model::new(&config.vlm.vision, &config.vlm.text, device),
            embedding_proj_layer: Projection::with_bias(width, config.embedding_dim, device),
        }
    }

    /// The model of a checkpoint, held as `storage` says.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load(
        config: &ColPaliConfig,
        checkpoint: &Checkpoint,
        storage: Storage,
        device: &B::Device,
        progress: impl FnMut(Progress<'_>),
    ) -> Result<Self, LoadError> {
        let empty = Self::new(config, device);
        let loaded = match storage {
            Storage::Dense(dtype) => load_module(empty, checkpoint, "", Some(dtype)),
            Storage::Packed(format) => load_packed(empty, checkpoint, "", format, progress),
        };
        Ok(loaded?.0)
    }

    /// A direction for every token: those of a picture, if there is one, then those of the text.
    /// All tokens see each other.
    ///
    /// # Shapes
    /// - `pixels`: `[1, 3, H, W]` in -1..1
    /// - output: `[N + T, width]`, in f32
    pub fn embed(
        &self,
        pixels: Option<Tensor<B, 4>>,
        text: &[u32],
        device: &B::Device,
    ) -> Tensor<B, 2> {
        let text = ids(&[text], 1, device);
        let embeds = match pixels {
            Some(pixels) => self.vlm.embed(self.vlm.encode(pixels), text),
            None => self.vlm.language_model().embed(text),
        };
        let mask = PrefixMask::prefixes(&[embeds.dims()[1]]);
        let hidden = self.vlm.language_model().forward(embeds, &mask, None);
        let vectors = self.embedding_proj_layer.forward(hidden).cast(DType::F32);
        let lengths = vectors.clone().powi_scalar(2).sum_dim(2).sqrt();
        (vectors / lengths).squeeze_dim(0)
    }
}

impl<B: NnBackend> Projections<B> for ColPali<B> {
    fn map_projections(self, walk: &mut Walk<'_, B>) -> Self {
        Self {
            vlm: walk.part("vlm", self.vlm),
            embedding_proj_layer: walk.part("embedding_proj_layer", self.embedding_proj_layer),
        }
    }

    /// The head is small, and all that the vectors are made by: it stays as it is.
    fn packed(self, format: PackedFormat) -> Self {
        Self { vlm: self.vlm.packed(format), ..self }
    }
}
