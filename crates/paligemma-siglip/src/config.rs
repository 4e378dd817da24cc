//! The sizes of a vision tower.

/// Sizes of a SigLIP tower; every field is read from the checkpoint, none is derived.
#[derive(Clone, Debug, PartialEq)]
pub struct SiglipConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward block.
    pub intermediate_size: usize,
    /// Number of encoder layers.
    pub num_hidden_layers: usize,
    /// Attention heads; they divide `hidden_size`.
    pub num_attention_heads: usize,
    /// Height and width of the picture in pixels.
    pub image_size: usize,
    /// Height and width of a patch in pixels; they divide `image_size`.
    pub patch_size: usize,
    /// Colour channels.
    pub num_channels: usize,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
}

impl SiglipConfig {
    /// The So400m/14 tower of every published PaliGemma at `image_size` pixels
    /// (big_vision `models/vit.py`, `decode_variant`).
    pub fn so400m(image_size: usize) -> Self {
        Self {
            hidden_size: 1152,
            intermediate_size: 4304,
            num_hidden_layers: 27,
            num_attention_heads: 16,
            image_size,
            patch_size: 14,
            num_channels: 3,
            layer_norm_eps: 1e-6,
        }
    }

    /// Patches of a picture, which is the number of its feature vectors.
    pub fn num_patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }
}
