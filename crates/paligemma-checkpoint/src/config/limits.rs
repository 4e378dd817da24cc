//! What the numbers of a configuration must satisfy, alone and together.

use std::fmt::Display;

use super::{ConfigError, PaliGemmaConfig};

/// Above any published model by an order of magnitude, and far below where a product of sizes
/// overflows: a file that asks for more is broken or hostile.
const MAX_WIDTH: usize = 1 << 20;
pub(crate) const MAX_COUNT: usize = 1 << 12;
const MAX_VOCABULARY: usize = 1 << 24;

pub(super) fn check(config: &PaliGemmaConfig) -> Result<(), ConfigError> {
    check_ranges(config)?;
    check_relations(config)?;
    check_constants(config)?;
    let tokens = [
        ("bos_token_id", config.bos_token_id),
        ("eos_token_id", config.eos_token_id),
        ("pad_token_id", config.pad_token_id),
    ];
    let vocabulary = config.text.vocab_size;
    for (field, token) in tokens {
        let expected = || format!("less than text_config.vocab_size ({vocabulary})");
        require((token as usize) < vocabulary, field, &token, expected)?;
    }
    // Pictures take its place, so big_vision's table ends before it.
    let image = config.image_token_index;
    let expected = || format!("at most text_config.vocab_size ({vocabulary})");
    require(image as usize <= vocabulary, "image_token_index", &image, expected)
}

fn check_ranges(config: &PaliGemmaConfig) -> Result<(), ConfigError> {
    let (text, vision) = (&config.text, &config.vision);
    let sizes = [
        ("text_config.vocab_size", text.vocab_size, MAX_VOCABULARY),
        ("text_config.hidden_size", text.hidden_size, MAX_WIDTH),
        ("text_config.intermediate_size", text.intermediate_size, MAX_WIDTH),
        ("text_config.num_hidden_layers", text.num_hidden_layers, MAX_COUNT),
        ("text_config.num_attention_heads", text.num_attention_heads, MAX_COUNT),
        ("text_config.num_key_value_heads", text.num_key_value_heads, MAX_COUNT),
        ("text_config.head_dim", text.head_dim, MAX_COUNT),
        ("text_config.max_position_embeddings", text.max_position_embeddings, MAX_VOCABULARY),
        ("vision_config.hidden_size", vision.hidden_size, MAX_WIDTH),
        ("vision_config.intermediate_size", vision.intermediate_size, MAX_WIDTH),
        ("vision_config.num_hidden_layers", vision.num_hidden_layers, MAX_COUNT),
        ("vision_config.num_attention_heads", vision.num_attention_heads, MAX_COUNT),
        ("vision_config.image_size", vision.image_size, MAX_COUNT),
        ("vision_config.patch_size", vision.patch_size, MAX_COUNT),
    ];
    for (field, found, limit) in sizes {
        let expected = || format!("between 1 and {limit}");
        require((1..=limit).contains(&found), field, &found, expected)?;
    }
    let channels = vision.num_channels;
    require(channels == 3, "vision_config.num_channels", &channels, || "3 (RGB)".to_owned())
}

fn check_relations(config: &PaliGemmaConfig) -> Result<(), ConfigError> {
    let (text, vision) = (&config.text, &config.vision);
    let multiples = [
        (
            "text_config.num_attention_heads",
            text.num_attention_heads,
            "num_key_value_heads",
            text.num_key_value_heads,
        ),
        ("text_config.head_dim", text.head_dim, "the halves that are rotated", 2),
        (
            "vision_config.hidden_size",
            vision.hidden_size,
            "num_attention_heads",
            vision.num_attention_heads,
        ),
        ("vision_config.image_size", vision.image_size, "patch_size", vision.patch_size),
    ];
    for (field, found, of, unit) in multiples {
        let expected = || format!("a multiple of {of} ({unit})");
        require(found.is_multiple_of(unit), field, &found, expected)?;
    }
    let (patches, positions) = (vision.num_patches(), text.max_position_embeddings);
    let expected = || {
        format!(
            "less, for its {patches} patches leave nothing of {positions} positions to the text"
        )
    };
    require(patches < positions, "vision_config.image_size", &vision.image_size, expected)?;
    let (projection, width) = (config.projection_dim, text.hidden_size);
    let expected = || format!("text_config.hidden_size ({width})");
    require(projection == width, "projection_dim", &projection, expected)
}

fn check_constants(config: &PaliGemmaConfig) -> Result<(), ConfigError> {
    if let Some(window) = config.text.sliding_window {
        let expected = || format!("between 1 and {MAX_VOCABULARY}, or null for none");
        let sound = (1..=MAX_VOCABULARY).contains(&window);
        require(sound, "text_config.sliding_window", &window, expected)?;
    }
    let optional = [
        ("text_config.query_pre_attn_scalar", config.text.query_pre_attn_scalar),
        ("text_config.attn_logit_softcapping", config.text.attn_logit_softcapping),
        ("text_config.final_logit_softcapping", config.text.final_logit_softcapping),
    ];
    let given = |(field, found): (_, Option<f64>)| found.map(|found| (field, found));
    let optional = optional.into_iter().filter_map(given);
    let constants = [
        ("text_config.rms_norm_eps", config.text.rms_norm_eps),
        ("text_config.rope_theta", config.text.rope_theta),
        ("vision_config.layer_norm_eps", config.vision.layer_norm_eps),
    ];
    for (field, found) in constants.into_iter().chain(optional) {
        let sound = found.is_finite() && found > 0.0;
        require(sound, field, &found, || "finite and above 0".to_owned())?;
    }
    Ok(())
}

fn require(
    holds: bool,
    field: &'static str,
    found: &dyn Display,
    expected: impl Fn() -> String,
) -> Result<(), ConfigError> {
    if holds {
        return Ok(());
    }
    Err(ConfigError::Value { field, found: found.to_string(), expected: expected() })
}
