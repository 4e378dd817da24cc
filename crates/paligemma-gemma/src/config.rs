//! The sizes of a decoder.

/// Sizes of a Gemma decoder; every field is read from the checkpoint, none is derived.
#[derive(Clone, Debug, PartialEq)]
pub struct GemmaConfig {
    /// Rows of the embedding table, which is also the output head.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward block (gate and up each).
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key-value heads; they divide `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of a head; not `hidden_size / num_attention_heads`.
    pub head_dim: usize,
    /// Longest sequence the model was made for.
    pub max_position_embeddings: usize,
    /// Epsilon of the root-mean-square norms.
    pub rms_norm_eps: f64,
    /// Base of the rotary angles.
    pub rope_theta: f64,
}

impl GemmaConfig {
    /// Gemma 2B, the decoder of every published PaliGemma 3B, with `vocab_size` rows
    /// (big_vision `models/ppp/gemma.py`, `get_config`).
    pub fn gemma_2b(vocab_size: usize) -> Self {
        Self {
            vocab_size,
            hidden_size: 2048,
            intermediate_size: 16384,
            num_hidden_layers: 18,
            num_attention_heads: 8,
            num_key_value_heads: 1,
            head_dim: 256,
            max_position_embeddings: 8192,
            rms_norm_eps: 1e-6,
            rope_theta: 10_000.0,
        }
    }
}
