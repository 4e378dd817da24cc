//! Sizes that a random checkpoint can have.

use clap::ValueEnum;
use paligemma_checkpoint::{ConfigError, PaliGemmaConfig};

/// The sizes of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Variant {
    /// The published 3B at 224 pixels
    #[value(name = "3b-224")]
    Published224,
    /// The published 3B at 448 pixels
    #[value(name = "3b-448")]
    Published448,
    /// The published 3B at 896 pixels
    #[value(name = "3b-896")]
    Published896,
    /// The published PaliGemma 2 3B at 224 pixels
    #[value(name = "pg2-3b-224")]
    Second3b,
    /// The published PaliGemma 2 10B at 224 pixels
    #[value(name = "pg2-10b-224")]
    Second10b,
    /// The embedded model
    Pocket,
    /// One layer of each kind, for tests
    Tiny,
}

impl Variant {
    /// The sizes, with the tokens of the embedded model's tokenizer, which goes with every
    /// random checkpoint: the published one may not be passed on.
    ///
    /// # Errors
    /// If the embedded configuration cannot be read.
    pub fn config(self) -> Result<PaliGemmaConfig, ConfigError> {
        let pocket = PaliGemmaConfig::from_json(paligemma::pocket::CONFIG)?;
        let tokens =
            |config| PaliGemmaConfig { image_token_index: pocket.image_token_index, ..config };
        let published = |size| tokens(PaliGemmaConfig::published_3b(size));
        let [second_3b, second_10b, _] = PaliGemmaConfig::published_2(224);
        Ok(match self {
            Self::Published224 => published(224),
            Self::Published448 => published(448),
            Self::Published896 => published(896),
            Self::Second3b => tokens(second_3b),
            Self::Second10b => tokens(second_10b),
            Self::Pocket => pocket,
            Self::Tiny => tiny(pocket),
        })
    }
}

fn tiny(mut config: PaliGemmaConfig) -> PaliGemmaConfig {
    let text = &mut config.text;
    (text.hidden_size, text.intermediate_size, text.head_dim) = (64, 128, 32);
    (text.num_hidden_layers, text.num_attention_heads, text.num_key_value_heads) = (1, 2, 1);
    let vision = &mut config.vision;
    (vision.hidden_size, vision.intermediate_size, vision.image_size) = (64, 128, 28);
    (vision.num_hidden_layers, vision.num_attention_heads) = (1, 2);
    config.projection_dim = text.hidden_size;
    config
}
