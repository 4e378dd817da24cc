//! The whole vision tower.

use burn::module::Module;
use burn::tensor::Tensor;
use paligemma_nn::{LayerNorm, NnBackend, Projections, Walk};

use crate::{Embeddings, EncoderLayer, SiglipConfig};

/// The stack of encoder layers.
#[derive(Module, Debug)]
pub struct Encoder<B: NnBackend> {
    layers: Vec<EncoderLayer<B>>,
}

/// A SigLIP tower without a pooling head.
///
/// Source: big_vision `models/vit.py` with `pool_type="none"`; the final norm is applied.
#[derive(Module, Debug)]
pub struct Siglip<B: NnBackend> {
    embeddings: Embeddings<B>,
    encoder: Encoder<B>,
    post_layernorm: LayerNorm<B>,
}

impl<B: NnBackend> Siglip<B> {
    /// A tower with lazy, random parameters: nothing is allocated until they are read.
    pub fn new(config: &SiglipConfig, device: &B::Device) -> Self {
        let layers = (0..config.num_hidden_layers).map(|_| EncoderLayer::new(config, device));
        Self {
            embeddings: Embeddings::new(config, device),
            encoder: Encoder { layers: layers.collect() },
            post_layernorm: LayerNorm::new(config.hidden_size, config.layer_norm_eps, device),
        }
    }

    /// What makes patches of a picture.
    pub fn embeddings(&self) -> &Embeddings<B> {
        &self.embeddings
    }

    /// The layers, in the order of computation.
    pub fn layers(&self) -> &[EncoderLayer<B>] {
        &self.encoder.layers
    }

    /// The norm after the last layer.
    pub fn post_layernorm(&self) -> &LayerNorm<B> {
        &self.post_layernorm
    }

    /// One feature vector per patch, row by row of the picture.
    ///
    /// # Shapes
    /// - `pixels`: `[B, 3, H, W]` in -1..1, `H` and `W` the configured image size
    /// - output: `[B, N, D]`
    pub fn forward(&self, pixels: Tensor<B, 4>) -> Tensor<B, 3> {
        self.trace(pixels, |_, _| ())
    }

    /// [`Siglip::forward`], showing every intermediate value to `observe`: `embeddings`, and
    /// `layer0`, `layer1`, ... in the order of computation.
    ///
    /// # Shapes
    /// - `pixels`: `[B, 3, H, W]`
    /// - observed and output: `[B, N, D]`
    pub fn trace(
        &self,
        pixels: Tensor<B, 4>,
        mut observe: impl FnMut(&str, &Tensor<B, 3>),
    ) -> Tensor<B, 3> {
        let mut x = self.embeddings.forward(pixels);
        observe("embeddings", &x);
        for (i, layer) in self.encoder.layers.iter().enumerate() {
            x = layer.forward(x);
            observe(&format!("layer{i}"), &x);
        }
        self.post_layernorm.forward(x)
    }
}

impl<B: NnBackend> Projections<B> for Encoder<B> {
    fn map_projections(self, walk: &mut Walk<'_, B>) -> Self {
        Self { layers: walk.part("layers", self.layers) }
    }
}

impl<B: NnBackend> Projections<B> for Siglip<B> {
    fn map_projections(self, walk: &mut Walk<'_, B>) -> Self {
        Self { encoder: walk.part("encoder", self.encoder), ..self }
    }
}
