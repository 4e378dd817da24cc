//! One encoder layer: attention and feed-forward, each behind a layer norm.

use burn::module::Module;
use burn::tensor::Tensor;
use paligemma_nn::{
    LayerNorm, NnBackend, Projection, Projections, Scoring, Walk, attention, residual,
};

use crate::SiglipConfig;

/// Attention of every patch to every patch.
#[derive(Module, Debug)]
pub struct Attention<B: NnBackend> {
    q_proj: Projection<B>,
    k_proj: Projection<B>,
    v_proj: Projection<B>,
    out_proj: Projection<B>,
    heads: usize,
}

/// The feed-forward block.
#[derive(Module, Debug)]
pub struct Mlp<B: NnBackend> {
    fc1: Projection<B>,
    fc2: Projection<B>,
}

/// A pre-norm encoder layer.
#[derive(Module, Debug)]
pub struct EncoderLayer<B: NnBackend> {
    layer_norm1: LayerNorm<B>,
    self_attn: Attention<B>,
    layer_norm2: LayerNorm<B>,
    mlp: Mlp<B>,
}

impl<B: NnBackend> Attention<B> {
    fn new(config: &SiglipConfig, device: &B::Device) -> Self {
        let square = || Projection::with_bias(config.hidden_size, config.hidden_size, device);
        Self {
            q_proj: square(),
            k_proj: square(),
            v_proj: square(),
            out_proj: square(),
            heads: config.num_attention_heads,
        }
    }

    /// `out(softmax(q k^T / sqrt(C)) v)`.
    ///
    /// # Shapes
    /// - `x`: `[B, N, D]`
    /// - output: `[B, N, D]`
    pub fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let [batch, patches, width] = x.dims();
        let head_dim = width / self.heads;
        let split = |x: Tensor<B, 3>| x.reshape([batch, patches, self.heads, head_dim]);
        let query = split(self.q_proj.forward(x.clone()));
        let key = split(self.k_proj.forward(x.clone()));
        let value = split(self.v_proj.forward(x));
        let scoring = Scoring::scaled((head_dim as f32).sqrt().recip());
        let mixed = attention(query, key, value, None, scoring, self.q_proj.precision());
        self.out_proj.forward(mixed.reshape([batch, patches, width]))
    }
}

impl<B: NnBackend> Mlp<B> {
    fn new(config: &SiglipConfig, device: &B::Device) -> Self {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        Self {
            fc1: Projection::with_bias(width, inner, device),
            fc2: Projection::with_bias(inner, width, device),
        }
    }

    /// `fc2(gelu(fc1(x)))`.
    ///
    /// # Shapes
    /// - `x`: `[B, N, D]`
    /// - output: `[B, N, D]`
    pub fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        self.fc2.forward(self.fc1.forward_gelu(x))
    }
}

impl<B: NnBackend> EncoderLayer<B> {
    pub(crate) fn new(config: &SiglipConfig, device: &B::Device) -> Self {
        let norm = || LayerNorm::new(config.hidden_size, config.layer_norm_eps, device);
        Self {
            layer_norm1: norm(),
            self_attn: Attention::new(config, device),
            layer_norm2: norm(),
            mlp: Mlp::new(config, device),
        }
    }

    /// Adds what attention and the feed-forward block make of the normed stream.
    ///
    /// # Shapes
    /// - `x`: `[B, N, D]`
    /// - output: `[B, N, D]`
    pub fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let x = residual(x.clone(), self.self_attn.forward(self.layer_norm1.forward(x)));
        residual(x.clone(), self.mlp.forward(self.layer_norm2.forward(x)))
    }
}

impl<B: NnBackend> Projections<B> for Attention<B> {
    fn map_projections(self, walk: &mut Walk<'_, B>) -> Self {
        Self {
            q_proj: walk.part("q_proj", self.q_proj),
            k_proj: walk.part("k_proj", self.k_proj),
            v_proj: walk.part("v_proj", self.v_proj),
            out_proj: walk.part("out_proj", self.out_proj),
            ..self
        }
    }
}

impl<B: NnBackend> Projections<B> for Mlp<B> {
    fn map_projections(self, walk: &mut Walk<'_, B>) -> Self {
        Self { fc1: walk.part("fc1", self.fc1), fc2: walk.part("fc2", self.fc2) }
    }
}

impl<B: NnBackend> Projections<B> for EncoderLayer<B> {
    fn map_projections(self, walk: &mut Walk<'_, B>) -> Self {
        Self {
            self_attn: walk.part("self_attn", self.self_attn),
            mlp: walk.part("mlp", self.mlp),
            ..self
        }
    }
}
