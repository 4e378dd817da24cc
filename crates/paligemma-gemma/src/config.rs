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
    /// Queries are divided by its root; by that of `head_dim` where there is none, as in Gemma.
    pub query_pre_attn_scalar: Option<f64>,
    /// Whether what attention and the feed-forward block give is normed too, before it joins the
    /// residual stream: so it is in Gemma 2, and not in Gemma.
    pub post_norms: bool,
    /// The soft cap of attention scores, before they are masked; 50 in Gemma 2.
    pub attn_logit_softcapping: Option<f64>,
    /// The soft cap of logits; 30 in Gemma 2, as transformers always has it. big_vision trains
    /// without, and so has a transfer that is to be compared with its.
    pub final_logit_softcapping: Option<f64>,
    /// How many tokens an answer token sees in the layers 0, 2, 4, ..., itself included; 4096 in
    /// Gemma 2, as transformers has it. big_vision has no window.
    pub sliding_window: Option<usize>,
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
            query_pre_attn_scalar: None,
            post_norms: false,
            attn_logit_softcapping: None,
            final_logit_softcapping: None,
            sliding_window: None,
        }
    }

    /// Gemma 2 2B, the decoder of every published PaliGemma 2 3B, with `vocab_size` rows
    /// (big_vision `models/ppp/gemma.py`, `get_config`; the window is transformers').
    pub fn gemma2_2b(vocab_size: usize) -> Self {
        Self {
            hidden_size: 2304,
            intermediate_size: 9216,
            num_hidden_layers: 26,
            num_key_value_heads: 4,
            query_pre_attn_scalar: Some(256.0),
            post_norms: true,
            attn_logit_softcapping: Some(50.0),
            final_logit_softcapping: Some(30.0),
            sliding_window: Some(4096),
            ..Self::gemma_2b(vocab_size)
        }
    }

    /// Gemma 2 9B, the decoder of PaliGemma 2 10B.
    pub fn gemma2_9b(vocab_size: usize) -> Self {
        Self {
            hidden_size: 3584,
            intermediate_size: 14336,
            num_hidden_layers: 42,
            num_attention_heads: 16,
            num_key_value_heads: 8,
            ..Self::gemma2_2b(vocab_size)
        }
    }

    /// Gemma 2 27B, the decoder of PaliGemma 2 28B. Its heads are not as wide as the stream's share
    /// of one, by which queries are scaled.
    pub fn gemma2_27b(vocab_size: usize) -> Self {
        Self {
            hidden_size: 4608,
            intermediate_size: 36864,
            num_hidden_layers: 46,
            num_attention_heads: 32,
            num_key_value_heads: 16,
            head_dim: 128,
            query_pre_attn_scalar: Some(144.0),
            ..Self::gemma2_2b(vocab_size)
        }
    }
}
