//! One decoder layer: attention and gated feed-forward, each behind a root-mean-square norm, and in
//! Gemma 2 before one too.

use burn::module::Module;
use burn::tensor::{Bool, Tensor};
use paligemma_nn::{
    Dropout, NnBackend, Projection, Projections, RmsNorm, RotaryTable, Scoring, Walk, attention,
    gated_gelu, residual,
};

use crate::{GemmaConfig, LayerCache};

/// What the layers of one pass share.
#[derive(Clone, Debug)]
pub struct Pass<B: NnBackend> {
    pub(crate) rotary: RotaryTable<B>,
    pub(crate) masked: Option<Tensor<B, 3, Bool>>,
    /// For layers with a sliding window.
    pub(crate) masked_locally: Option<Tensor<B, 3, Bool>>,
    pub(crate) dropout: Option<Dropout>,
}

impl<B: NnBackend> Pass<B> {
    /// The same pass with what attention and the feed-forward block give dropped out, as in
    /// training; every layer is to have a seed of its own.
    pub fn with_dropout(&self, dropout: Option<Dropout>) -> Self {
        Self { dropout, ..self.clone() }
    }

    /// Applies the dropout of one of a layer's two places.
    fn drop(&self, place: u64, x: Tensor<B, 3>) -> Tensor<B, 3> {
        match self.dropout {
            Some(dropout) => dropout.forward(place, x),
            None => x,
        }
    }
}

/// Attention with grouped heads and rotary positions.
#[derive(Module, Debug)]
pub struct Attention<B: NnBackend> {
    q_proj: Projection<B>,
    k_proj: Projection<B>,
    v_proj: Projection<B>,
    o_proj: Projection<B>,
    head_dim: usize,
    #[module(skip)]
    scoring: Scoring,
    /// Whether it has the sliding window, if the decoder has one.
    local: bool,
}

/// The gated feed-forward block.
#[derive(Module, Debug)]
pub struct Mlp<B: NnBackend> {
    gate_proj: Projection<B>,
    up_proj: Projection<B>,
    down_proj: Projection<B>,
}

/// A decoder layer. Its norms are called as in the files, where `post_attention_layernorm` is what
/// stands before Gemma's feed-forward block, but in Gemma 2 what stands after its attention.
#[derive(Module, Debug)]
pub struct DecoderLayer<B: NnBackend> {
    input_layernorm: RmsNorm<B>,
    self_attn: Attention<B>,
    post_attention_layernorm: RmsNorm<B>,
    mlp: Mlp<B>,
    /// Gemma 2's alone.
    pre_feedforward_layernorm: Option<RmsNorm<B>>,
    /// Gemma 2's alone.
    post_feedforward_layernorm: Option<RmsNorm<B>>,
}

impl<B: NnBackend> Attention<B> {
    fn new(config: &GemmaConfig, local: bool, device: &B::Device) -> Self {
        let (width, head_dim) = (config.hidden_size, config.head_dim);
        let queries = config.num_attention_heads * head_dim;
        let keys = config.num_key_value_heads * head_dim;
        let divisor = config.query_pre_attn_scalar.unwrap_or(head_dim as f64).sqrt();
        Self {
            q_proj: Projection::new(width, queries, device),
            k_proj: Projection::new(width, keys, device),
            v_proj: Projection::new(width, keys, device),
            o_proj: Projection::new(queries, width, device),
            head_dim,
            scoring: Scoring {
                scale: divisor.recip() as f32,
                softcap: config.attn_logit_softcapping.map(|cap| cap as f32),
            },
            local,
        }
    }

    /// `o(softmax(score(rope(q) rope(k)^T)) v)`, keys and values of earlier passes included.
    fn forward(
        &self,
        x: Tensor<B, 3>,
        pass: &Pass<B>,
        cache: Option<&mut LayerCache<B>>,
    ) -> Tensor<B, 3> {
        let [batch, length, _] = x.dims();
        let split =
            |x: Tensor<B, 3>| x.reshape([batch as i64, length as i64, -1, self.head_dim as i64]);
        let query = pass.rotary.forward(split(self.q_proj.forward(x.clone())));
        let key = pass.rotary.forward(split(self.k_proj.forward(x.clone())));
        let value = split(self.v_proj.forward(x));
        let [key, value] = match cache {
            Some(cache) => cache.append(key, value),
            None => [key, value],
        };
        let masked = if self.local { &pass.masked_locally } else { &pass.masked }.clone();
        let precision = self.q_proj.precision();
        let mixed: Tensor<B, 4> = attention(query, key, value, masked, self.scoring, precision);
        self.o_proj.forward(mixed.reshape([batch as i64, length as i64, -1]))
    }
}

impl<B: NnBackend> Mlp<B> {
    fn new(config: &GemmaConfig, device: &B::Device) -> Self {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        Self {
            gate_proj: Projection::new(width, inner, device),
            up_proj: Projection::new(width, inner, device),
            down_proj: Projection::new(inner, width, device),
        }
    }

    /// `down(gelu(gate(x)) * up(x))`.
    ///
    /// # Shapes
    /// - `x`: `[B, L, D]`
    /// - output: `[B, L, D]`
    pub fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let gate = self.gate_proj.forward(x.clone());
        self.down_proj.forward(gated_gelu(gate, self.up_proj.forward(x)))
    }
}

impl<B: NnBackend> DecoderLayer<B> {
    /// A layer that is `local` if it has the sliding window, where the configuration has one.
    pub(crate) fn new(config: &GemmaConfig, local: bool, device: &B::Device) -> Self {
        let norm = || RmsNorm::new(config.hidden_size, config.rms_norm_eps, device);
        Self {
            input_layernorm: norm(),
            self_attn: Attention::new(config, local, device),
            post_attention_layernorm: norm(),
            mlp: Mlp::new(config, device),
            pre_feedforward_layernorm: config.post_norms.then(norm),
            post_feedforward_layernorm: config.post_norms.then(norm),
        }
    }

    /// Adds what attention and the feed-forward block make of the normed stream.
    ///
    /// # Shapes
    /// - `x`: `[B, L, D]`
    /// - output: `[B, L, D]`
    pub fn forward(
        &self,
        x: Tensor<B, 3>,
        pass: &Pass<B>,
        cache: Option<&mut LayerCache<B>>,
    ) -> Tensor<B, 3> {
        let (after_attention, before_mlp) = match &self.pre_feedforward_layernorm {
            None => (None, &self.post_attention_layernorm),
            Some(before_mlp) => (Some(&self.post_attention_layernorm), before_mlp),
        };
        let normed = self.input_layernorm.forward(x.clone());
        let mixed = post_norm(after_attention, self.self_attn.forward(normed, pass, cache));
        let x = residual(x, pass.drop(0, mixed));
        let mixed = self.mlp.forward(before_mlp.forward(x.clone()));
        let mixed = post_norm(self.post_feedforward_layernorm.as_ref(), mixed);
        residual(x, pass.drop(1, mixed))
    }
}

/// What a block gives, normed where its layer has a norm after it.
fn post_norm<B: NnBackend>(norm: Option<&RmsNorm<B>>, x: Tensor<B, 3>) -> Tensor<B, 3> {
    match norm {
        None => x,
        Some(norm) => norm.forward(x),
    }
}

impl<B: NnBackend> Projections<B> for Attention<B> {
    fn map_projections(self, walk: &mut Walk<'_, B>) -> Self {
        Self {
            q_proj: walk.part("q_proj", self.q_proj),
            k_proj: walk.part("k_proj", self.k_proj),
            v_proj: walk.part("v_proj", self.v_proj),
            o_proj: walk.part("o_proj", self.o_proj),
            ..self
        }
    }
}

impl<B: NnBackend> Projections<B> for Mlp<B> {
    fn map_projections(self, walk: &mut Walk<'_, B>) -> Self {
        Self {
            gate_proj: walk.part("gate_proj", self.gate_proj),
            up_proj: walk.part("up_proj", self.up_proj),
            down_proj: walk.part("down_proj", self.down_proj),
        }
    }
}

impl<B: NnBackend> Projections<B> for DecoderLayer<B> {
    fn map_projections(self, walk: &mut Walk<'_, B>) -> Self {
        Self {
            self_attn: walk.part("self_attn", self.self_attn),
            mlp: walk.part("mlp", self.mlp),
            ..self
        }
    }
}
