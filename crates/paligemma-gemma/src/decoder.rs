//! The whole decoder.

use burn::module::Module;
use burn::tensor::{DType, Int, Tensor};
use paligemma_nn::{
    NnBackend, PackedFormat, PrefixMask, Projection, Projections, RmsNorm, RotaryTable, Walk,
    softcap,
};

use crate::layer::Pass;
use crate::{DecoderLayer, GemmaConfig, KvCache};

/// The width from which a table of 4 bits serves.
const NARROW: usize = 1024;

/// A Gemma or Gemma 2 decoder with tied embeddings; which it is, its configuration says.
///
/// Source: transformers 5.23.0 `modeling_gemma.py` and `modeling_gemma2.py`, and big_vision `models/ppp/gemma.py`.
#[derive(Module, Debug)]
pub struct Gemma<B: NnBackend> {
    /// The embedding table, which is also the output head.
    embed_tokens: Projection<B>,
    layers: Vec<DecoderLayer<B>>,
    norm: RmsNorm<B>,
    head_dim: usize,
    rope_theta: f64,
    #[module(skip)]
    final_softcap: Option<f64>,
    #[module(skip)]
    window: Option<usize>,
}

impl<B: NnBackend> Gemma<B> {
    /// A decoder with lazy, random parameters: nothing is allocated until they are read.
    pub fn new(config: &GemmaConfig, device: &B::Device) -> Self {
        // Gemma 2 begins with a layer that has the window, and every second has it.
        let layer = |i: usize| DecoderLayer::new(config, i.is_multiple_of(2), device);
        let layers = (0..config.num_hidden_layers).map(layer);
        Self {
            embed_tokens: Projection::new(config.hidden_size, config.vocab_size, device),
            layers: layers.collect(),
            norm: RmsNorm::new(config.hidden_size, config.rms_norm_eps, device),
            head_dim: config.head_dim,
            rope_theta: config.rope_theta,
            final_softcap: config.final_logit_softcapping,
            window: config.sliding_window,
        }
    }

    /// An empty cache for `batch` rows of up to `capacity` tokens; it allocates when first written.
    pub fn cache(&self, batch: usize, capacity: usize) -> KvCache<B> {
        KvCache::new(self.layers.len(), batch, capacity)
    }

    /// Embeddings of tokens, scaled by `sqrt(D)`. Picture features join them unscaled.
    ///
    /// # Shapes
    /// - `ids`: `[B, L]`
    /// - output: `[B, L, D]`
    pub fn embed(&self, ids: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        let rows = self.embed_tokens.rows(ids);
        let scale = (rows.dims()[2] as f64).sqrt();
        rows.mul_scalar(scale)
    }

    /// Hidden states after the final norm.
    ///
    /// `mask` describes all slots: those in the cache, then those of `embeds`. A prefix must be
    /// passed whole, never in pieces, because its tokens see each other.
    ///
    /// # Shapes
    /// - `embeds`: `[B, L, D]`
    /// - output: `[B, L, D]`
    ///
    /// # Panics
    /// If the mask does not describe the cache and `embeds` exactly.
    pub fn forward(
        &self,
        embeds: Tensor<B, 3>,
        mask: &PrefixMask,
        cache: Option<&mut KvCache<B>>,
    ) -> Tensor<B, 3> {
        self.trace(embeds, mask, cache, |_, _| ())
    }

    /// What the layers need to know of the slots from `start` to the end of `mask`.
    pub fn pass(&self, mask: &PrefixMask, start: usize, device: &B::Device) -> Pass<B> {
        let positions: Vec<Vec<usize>> =
            mask.positions().into_iter().map(|row| row[start..].to_vec()).collect();
        let masked = mask.masked(start..mask.len(), None, device);
        let masked_locally = match self.window {
            Some(window) if window < mask.len() => {
                mask.masked(start..mask.len(), Some(window), device)
            }
            _ => masked.clone(),
        };
        Pass {
            rotary: RotaryTable::new(&positions, self.head_dim, self.rope_theta, device),
            masked,
            masked_locally,
            dropout: None,
        }
    }

    /// The embedding table, which is also the output head.
    pub fn embed_tokens(&self) -> &Projection<B> {
        &self.embed_tokens
    }

    /// The layers, in the order of computation.
    pub fn layers(&self) -> &[DecoderLayer<B>] {
        &self.layers
    }

    /// The norm after the last layer.
    pub fn norm(&self) -> &RmsNorm<B> {
        &self.norm
    }

    /// [`Gemma::forward`], showing the output of `layer0`, `layer1`, ... to `observe`.
    ///
    /// # Shapes
    /// - `embeds`, observed and output: `[B, L, D]`
    ///
    /// # Panics
    /// If the mask does not describe the cache and `embeds` exactly.
    pub fn trace(
        &self,
        embeds: Tensor<B, 3>,
        mask: &PrefixMask,
        mut cache: Option<&mut KvCache<B>>,
        mut observe: impl FnMut(&str, &Tensor<B, 3>),
    ) -> Tensor<B, 3> {
        let [batch, length, _] = embeds.dims();
        let start = cache.as_ref().map_or(0, |cache| cache.len());
        assert_eq!(
            (mask.rows().len(), mask.len()),
            (batch, start + length),
            "the mask must describe the cache and the new embeddings"
        );
        let pass = self.pass(mask, start, &embeds.device());
        let mut x = embeds;
        for (i, layer) in self.layers.iter().enumerate() {
            let cache = cache.as_deref_mut().map(|cache| &mut cache.layers[i]);
            x = layer.forward(x, &pass, cache);
            observe(&format!("layer{i}"), &x);
        }
        self.norm.forward(x)
    }

    /// Logits of the tied head, in f32, soft-capped where the configuration says so.
    ///
    /// # Shapes
    /// - `hidden`: `[B, L, D]`
    /// - output: `[B, L, V]`
    pub fn logits(&self, hidden: Tensor<B, 3>) -> Tensor<B, 3> {
        let logits = self.embed_tokens.forward(hidden).cast(DType::F32);
        match self.final_softcap {
            None => logits,
            Some(cap) => softcap(logits, cap),
        }
    }
}

impl<B: NnBackend> Projections<B> for Gemma<B> {
    fn map_projections(self, walk: &mut Walk<'_, B>) -> Self {
        Self {
            embed_tokens: walk.part("embed_tokens", self.embed_tokens),
            layers: walk.part("layers", self.layers),
            ..self
        }
    }

    /// With 4 bits, the table of a narrow decoder has 8. An embedding is a row of it as it was
    /// rounded, and so few products do not average that away; published decoders are wide enough,
    /// and read the whole table for every token (docs/numerics.md).
    fn packed(self, format: PackedFormat) -> Self {
        let narrow = self.embed_tokens.dims()[1] < NARROW;
        let table = match format {
            PackedFormat::Int4 if narrow => PackedFormat::Int8,
            format => format,
        };
        Self {
            embed_tokens: self.embed_tokens.packed(table),
            layers: self.layers.packed(format),
            ..self
        }
    }
}
