//! The published `config.json`: the mirror of its fields, and the way from and to it.

use std::fmt::Display;

use paligemma_gemma::GemmaConfig;
use paligemma_siglip::SiglipConfig;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ConfigError, PaliGemmaConfig};

// Defaults of the reference (transformers: configuration_{gemma,siglip,paligemma}.py).
const HEAD_DIM: usize = 256;
const MAX_POSITIONS: usize = 8192;
const ROPE_THETA: f64 = 10_000.0;
const NORM_EPS: f64 = 1e-6;
const PATCH_SIZE: usize = 14;
const CHANNELS: usize = 3;
pub(super) const PAD: u32 = 0;
pub(super) const EOS: u32 = 1;
pub(super) const BOS: u32 = 2;
const IMAGE_SIZE: usize = 224;
// Gemma 2's, of configuration_gemma2.py.
const QUERY_SCALAR: f64 = 256.0;
const ATTENTION_SOFTCAP: Option<f64> = Some(50.0);
const FINAL_SOFTCAP: Option<f64> = Some(30.0);
const WINDOW: Option<usize> = Some(4096);
/// The text model of PaliGemma and that of PaliGemma 2.
const GEMMA: &str = "gemma";
const GEMMA_2: &str = "gemma2";
const ACTIVATION: &str = "gelu_pytorch_tanh";

/// The fields that say which model this is: read first, so that another model's file is called
/// that, rather than a PaliGemma file with fields missing.
#[derive(Deserialize)]
struct Kind {
    model_type: Option<String>,
    text_config: Option<SectionKind>,
    vision_config: Option<SectionKind>,
    quantization_config: Option<Value>,
}

#[derive(Deserialize)]
struct SectionKind {
    model_type: Option<String>,
}

#[derive(Deserialize)]
struct File {
    text_config: TextSection,
    vision_config: VisionSection,
    image_token_index: u32,
    projection_dim: Option<usize>,
    bos_token_id: Option<u32>,
    eos_token_id: Option<u32>,
    pad_token_id: Option<u32>,
    tie_word_embeddings: Option<bool>,
}

#[derive(Deserialize)]
struct TextSection {
    model_type: Option<String>,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: Option<usize>,
    max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_parameters: Option<Rope>,
    rope_scaling: Option<Value>,
    hidden_act: Option<String>,
    hidden_activation: Option<String>,
    attention_bias: Option<bool>,
    tie_word_embeddings: Option<bool>,
    query_pre_attn_scalar: Option<f64>,
    // `null` switches off what is on where the field is left out.
    #[serde(default = "attention_softcap")]
    attn_logit_softcapping: Option<f64>,
    #[serde(default = "final_softcap")]
    final_logit_softcapping: Option<f64>,
    #[serde(default = "window")]
    sliding_window: Option<usize>,
    layer_types: Option<Vec<String>>,
}

fn attention_softcap() -> Option<f64> {
    ATTENTION_SOFTCAP
}

fn final_softcap() -> Option<f64> {
    FINAL_SOFTCAP
}

fn window() -> Option<usize> {
    WINDOW
}

#[derive(Deserialize)]
struct Rope {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
}

#[derive(Deserialize)]
struct VisionSection {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    image_size: Option<usize>,
    patch_size: Option<usize>,
    num_channels: Option<usize>,
    layer_norm_eps: Option<f64>,
    hidden_act: Option<String>,
    projection_dim: Option<usize>,
    vision_use_head: Option<bool>,
}

pub(super) fn parse(json: &str) -> Result<PaliGemmaConfig, ConfigError> {
    check_kind(serde_json::from_str(json)?)?;
    let file: File = serde_json::from_str(json)?;
    check_computed(&file)?;

    let vision_projection = file.vision_config.projection_dim;
    let text = text_config(file.text_config);
    let projection_dim = file.projection_dim.or(vision_projection).unwrap_or(text.hidden_size);
    // The reference sizes the projector by the vision section's copy of the same number.
    if let Some(found) = vision_projection.filter(|found| *found != projection_dim) {
        let expected = projection_dim.to_string();
        return Err(value("vision_config.projection_dim", &found, expected));
    }
    Ok(PaliGemmaConfig {
        vision: vision_config(&file.vision_config),
        text,
        projection_dim,
        image_token_index: file.image_token_index,
        bos_token_id: file.bos_token_id.unwrap_or(BOS),
        eos_token_id: file.eos_token_id.unwrap_or(EOS),
        pad_token_id: file.pad_token_id.unwrap_or(PAD),
    })
}

pub(super) fn write(config: &PaliGemmaConfig) -> String {
    let PaliGemmaConfig { text, vision, .. } = config;
    let file = json!({
        "architectures": ["PaliGemmaForConditionalGeneration"],
        "model_type": "paligemma",
        "bos_token_id": config.bos_token_id,
        "eos_token_id": config.eos_token_id,
        "pad_token_id": config.pad_token_id,
        "image_token_index": config.image_token_index,
        "hidden_size": text.hidden_size,
        "projection_dim": config.projection_dim,
        "text_config": text_section(text, vision.num_patches()),
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": vision.hidden_size,
            "intermediate_size": vision.intermediate_size,
            "num_hidden_layers": vision.num_hidden_layers,
            "num_attention_heads": vision.num_attention_heads,
            "num_image_tokens": vision.num_patches(),
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "num_channels": vision.num_channels,
            "layer_norm_eps": vision.layer_norm_eps,
            "hidden_act": ACTIVATION,
            "projection_dim": config.projection_dim,
            "vision_use_head": false,
        },
    });
    format!("{file:#}\n")
}

fn text_section(text: &GemmaConfig, image_tokens: usize) -> Value {
    let mut section = json!({
        "model_type": if text.post_norms { GEMMA_2 } else { GEMMA },
        "vocab_size": text.vocab_size,
        "hidden_size": text.hidden_size,
        "intermediate_size": text.intermediate_size,
        "num_hidden_layers": text.num_hidden_layers,
        "num_attention_heads": text.num_attention_heads,
        "num_key_value_heads": text.num_key_value_heads,
        "num_image_tokens": image_tokens,
        "head_dim": text.head_dim,
        "max_position_embeddings": text.max_position_embeddings,
        "rms_norm_eps": text.rms_norm_eps,
        "rope_theta": text.rope_theta,
        "hidden_activation": ACTIVATION,
    });
    if text.post_norms {
        let divisor = text.query_pre_attn_scalar.unwrap_or(text.head_dim as f64);
        section["query_pre_attn_scalar"] = json!(divisor);
        section["attn_logit_softcapping"] = json!(text.attn_logit_softcapping);
        section["final_logit_softcapping"] = json!(text.final_logit_softcapping);
        section["sliding_window"] = json!(text.sliding_window);
    }
    section
}

fn check_kind(kind: Kind) -> Result<(), ConfigError> {
    let is = |field, found: Option<String>, expected: &'static str| match found {
        Some(found) if found != expected => Err(ConfigError::ModelType { field, found, expected }),
        _ => Ok(()),
    };
    is("model_type", Some(kind.model_type.unwrap_or_default()), "paligemma")?;
    let text = kind.text_config.and_then(|section| section.model_type);
    if text.as_deref() != Some(GEMMA_2) {
        is("text_config.model_type", text, GEMMA)?;
    }
    let vision = kind.vision_config.and_then(|section| section.model_type);
    is("vision_config.model_type", vision, "siglip_vision_model")?;
    match kind.quantization_config {
        None => Ok(()),
        Some(config) => {
            let method = config.get("quant_method").and_then(Value::as_str).unwrap_or("unnamed");
            Err(ConfigError::Quantized { method: method.to_owned() })
        }
    }
}

/// Refuses settings under which the reference would compute something else than we do.
fn check_computed(file: &File) -> Result<(), ConfigError> {
    let TextSection { hidden_act, hidden_activation, .. } = &file.text_config;
    // The older field holds "gelu" in the first files; the reference reads that as the tanh form.
    let legacy = hidden_activation.is_none() && hidden_act.as_deref() == Some("gelu");
    let text_activation = hidden_activation.as_ref().or(hidden_act.as_ref());
    if !legacy {
        check_activation("text_config.hidden_activation", text_activation)?;
    }
    check_activation("vision_config.hidden_act", file.vision_config.hidden_act.as_ref())?;

    let rope = file.text_config.rope_parameters.as_ref();
    let rope_type = rope.and_then(|rope| rope.rope_type.as_deref()).unwrap_or("default");
    if rope_type != "default" {
        let expected = "`default`".to_owned();
        return Err(value("text_config.rope_parameters.rope_type", &rope_type, expected));
    }
    if let Some(scaling) = &file.text_config.rope_scaling {
        return Err(value("text_config.rope_scaling", scaling, "null".to_owned()));
    }
    check_layer_types(&file.text_config)?;
    let flags = [
        ("tie_word_embeddings", file.tie_word_embeddings, true),
        ("text_config.tie_word_embeddings", file.text_config.tie_word_embeddings, true),
        ("text_config.attention_bias", file.text_config.attention_bias, false),
        ("vision_config.vision_use_head", file.vision_config.vision_use_head, false),
    ];
    for (field, found, expected) in flags {
        if let Some(found) = found.filter(|found| *found != expected) {
            return Err(value(field, &found, expected.to_string()));
        }
    }
    Ok(())
}

/// Where the window is listed layer by layer, it is in every second, from the first on.
fn check_layer_types(text: &TextSection) -> Result<(), ConfigError> {
    let (Some(types), Some(GEMMA_2)) = (&text.layer_types, text.model_type.as_deref()) else {
        return Ok(());
    };
    let expected = ["sliding_attention", "full_attention"];
    let differs = |(i, found): &(usize, &String)| found.as_str() != expected[i % 2];
    match types.iter().enumerate().find(differs) {
        None => Ok(()),
        Some((i, found)) => {
            let expected = format!("`{}` in layer {i}", expected[i % 2]);
            Err(value("text_config.layer_types", &format!("`{found}`"), expected))
        }
    }
}

fn check_activation(field: &'static str, found: Option<&String>) -> Result<(), ConfigError> {
    match found {
        Some(found) if found != ACTIVATION => {
            Err(value(field, &format!("`{found}`"), format!("`{ACTIVATION}`")))
        }
        _ => Ok(()),
    }
}

fn text_config(text: TextSection) -> GemmaConfig {
    let rope_theta = text.rope_parameters.and_then(|rope| rope.rope_theta).or(text.rope_theta);
    // What Gemma has not, its files may say all the same; the reference does not read it either.
    let second = text.model_type.as_deref() == Some(GEMMA_2);
    let query_scalar = second.then(|| text.query_pre_attn_scalar.unwrap_or(QUERY_SCALAR));
    GemmaConfig {
        vocab_size: text.vocab_size,
        hidden_size: text.hidden_size,
        intermediate_size: text.intermediate_size,
        num_hidden_layers: text.num_hidden_layers,
        num_attention_heads: text.num_attention_heads,
        num_key_value_heads: text.num_key_value_heads,
        head_dim: text.head_dim.unwrap_or(HEAD_DIM),
        max_position_embeddings: text.max_position_embeddings.unwrap_or(MAX_POSITIONS),
        rms_norm_eps: text.rms_norm_eps.unwrap_or(NORM_EPS),
        rope_theta: rope_theta.unwrap_or(ROPE_THETA),
        query_pre_attn_scalar: query_scalar,
        post_norms: second,
        attn_logit_softcapping: text.attn_logit_softcapping.filter(|_| second),
        final_logit_softcapping: text.final_logit_softcapping.filter(|_| second),
        sliding_window: text.sliding_window.filter(|_| second),
    }
}

fn vision_config(vision: &VisionSection) -> SiglipConfig {
    SiglipConfig {
        hidden_size: vision.hidden_size,
        intermediate_size: vision.intermediate_size,
        num_hidden_layers: vision.num_hidden_layers,
        num_attention_heads: vision.num_attention_heads,
        image_size: vision.image_size.unwrap_or(IMAGE_SIZE),
        patch_size: vision.patch_size.unwrap_or(PATCH_SIZE),
        num_channels: vision.num_channels.unwrap_or(CHANNELS),
        layer_norm_eps: vision.layer_norm_eps.unwrap_or(NORM_EPS),
    }
}

fn value(field: &'static str, found: &dyn Display, expected: String) -> ConfigError {
    ConfigError::Value { field, found: found.to_string(), expected }
}
