//! config.json: defaults, both styles, refusals, and the way back.

use std::fs;

use paligemma_checkpoint::{ConfigError, PaliGemmaConfig};
use serde_json::{Value, json};

use crate::support::{assert_says, golden, golden_2, golden_config};

/// The published 3B file at 224 pixels: what it leaves out are the reference's defaults.
fn published() -> Value {
    json!({
        "model_type": "paligemma", "hidden_size": 2048, "ignore_index": -100,
        "image_token_index": 257_152, "projection_dim": 2048,
        "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0,
        "text_config": {
            "model_type": "gemma", "hidden_size": 2048, "intermediate_size": 16384,
            "num_attention_heads": 8, "num_hidden_layers": 18, "num_key_value_heads": 1,
            "num_image_tokens": 256, "vocab_size": 257_216
        },
        "vision_config": {
            "model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304,
            "num_attention_heads": 16, "num_hidden_layers": 27, "num_image_tokens": 256,
            "patch_size": 14, "projection_dim": 2048, "projector_hidden_act": "gelu_fast",
            "vision_use_head": false
        }
    })
}

/// The published file with one value replaced, or removed by `null`.
fn with(pointer: &str, value: Value) -> Result<PaliGemmaConfig, ConfigError> {
    let mut file = published();
    let (section, field) = pointer.rsplit_once('/').unwrap();
    file.pointer_mut(section).unwrap()[field] = value;
    PaliGemmaConfig::from_json(&file.to_string())
}

#[test]
fn omitted_fields_take_the_defaults_of_the_reference() {
    let config = PaliGemmaConfig::from_json(&published().to_string()).unwrap();
    assert_eq!(config, PaliGemmaConfig::published_3b(224));
    assert_eq!(config.text.head_dim, 256);
    assert_eq!(config.text.max_position_embeddings, 8192);
    assert_eq!((config.text.rms_norm_eps, config.text.rope_theta), (1e-6, 1e4));
    assert_eq!((config.vision.image_size, config.vision.num_channels), (224, 3));
    assert_eq!(with("/vision_config/image_size", json!(896)).unwrap().vision.num_patches(), 4096);
}

#[test]
fn all_golden_files_say_the_same() {
    let config = golden_config();
    assert_eq!((config.text.head_dim, config.text.max_position_embeddings), (16, 256));
    assert_eq!((config.image_token_index, config.text.vocab_size), (300, 320));
    for folder in ["sharded", "hf_v452", "hf_v5"] {
        assert_eq!(PaliGemmaConfig::open(golden(folder)).unwrap(), config, "{folder}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let second = PaliGemmaConfig::published_2(896);
    let mut without = second[0].clone();
    without.text.sliding_window = None;
    without.text.final_logit_softcapping = None;
    let first = [golden_config(), PaliGemmaConfig::published_3b(448), without];
    for config in first.into_iter().chain(second) {
        assert_eq!(PaliGemmaConfig::from_json(&config.to_json()).unwrap(), config);
    }
}

/// The published file of PaliGemma 2 28B at 224 pixels: its uppermost width is no one's.
fn published_2() -> Value {
    let mut file = published();
    file["projection_dim"] = json!(4608);
    file["vision_config"]["projection_dim"] = json!(4608);
    file["text_config"] = json!({
        "model_type": "gemma2", "hidden_size": 4608, "intermediate_size": 36864,
        "num_attention_heads": 32, "num_hidden_layers": 46, "num_key_value_heads": 16,
        "head_dim": 128, "query_pre_attn_scalar": 144, "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0, "sliding_window": 4096, "num_image_tokens": 256,
        "hidden_activation": "gelu_pytorch_tanh", "hidden_act": "gelu_pytorch_tanh",
        "attention_bias": false, "max_position_embeddings": 8192, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "use_cache": true, "vocab_size": 257_216
    });
    file
}

fn with_2(field: &str, value: Value) -> Result<PaliGemmaConfig, ConfigError> {
    let mut file = published_2();
    file["text_config"][field] = value;
    PaliGemmaConfig::from_json(&file.to_string())
}

#[test]
fn the_second_generation_is_read_with_its_own_defaults() {
    let [small, _, large] = PaliGemmaConfig::published_2(224);
    assert_eq!(PaliGemmaConfig::from_json(&published_2().to_string()).unwrap(), large);
    let mut file = published();
    file["projection_dim"] = json!(2304);
    file["vision_config"]["projection_dim"] = json!(2304);
    file["text_config"] = json!({
        "model_type": "gemma2", "hidden_size": 2304, "intermediate_size": 9216,
        "num_attention_heads": 8, "num_hidden_layers": 26, "num_key_value_heads": 4,
        "vocab_size": 257_216
    });
    assert_eq!(PaliGemmaConfig::from_json(&file.to_string()).unwrap(), small);
    // What another generation has is not read into this one.
    let ignored = with("/text_config/final_logit_softcapping", json!(30.0)).unwrap();
    assert_eq!(ignored, PaliGemmaConfig::published_3b(224));
}

#[test]
fn null_switches_window_and_soft_caps_off() {
    let text = |field| with_2(field, Value::Null).unwrap().text;
    assert_eq!(text("sliding_window").sliding_window, None);
    assert_eq!(text("final_logit_softcapping").final_logit_softcapping, None);
    assert_eq!(text("attn_logit_softcapping").attn_logit_softcapping, None);
    for (field, value) in [
        ("sliding_window", json!(0)),
        ("final_logit_softcapping", json!(0.0)),
        ("attn_logit_softcapping", json!(-50.0)),
        ("query_pre_attn_scalar", json!(0)),
        ("layer_types", json!(["full_attention"])),
    ] {
        assert_says(&with_2(field, value).unwrap_err(), &["text_config", field, "but must be"]);
    }
}

#[test]
fn all_golden_files_of_the_second_generation_say_the_same() {
    let config = PaliGemmaConfig::open(golden_2("published")).unwrap();
    assert_eq!(config.text.sliding_window, Some(6));
    assert_eq!(config.text.query_pre_attn_scalar, Some(24.0));
    for folder in ["sharded", "hf_v452", "hf_v5"] {
        assert_eq!(PaliGemmaConfig::open(golden_2(folder)).unwrap(), config, "{folder}");
    }
}

#[test]
fn the_newer_place_of_rope_theta_is_read() {
    let rope = json!({"rope_type": "default", "rope_theta": 5000.0});
    let mut expected = PaliGemmaConfig::published_3b(224);
    expected.text.rope_theta = 5000.0;
    assert_eq!(with("/text_config/rope_parameters", rope).unwrap(), expected);
    let scaled = json!({"rope_type": "linear", "factor": 2.0});
    let error = with("/text_config/rope_parameters", scaled).unwrap_err();
    assert_says(&error, &["rope_type is linear", "`default`"]);
}

#[test]
fn only_the_legacy_name_of_the_activation_is_an_alias() {
    assert!(with("/text_config/hidden_act", json!("gelu")).is_ok());
    for pointer in ["/text_config/hidden_activation", "/vision_config/hidden_act"] {
        let error = with(pointer, json!("gelu")).unwrap_err();
        assert_says(&error, &["is `gelu`", "`gelu_pytorch_tanh`"]);
    }
    let error = with("/text_config/hidden_act", json!("silu")).unwrap_err();
    assert_says(&error, &["text_config", "`silu`"]);
}

#[test]
fn other_models_are_refused_by_name() {
    let error = with("/model_type", json!("llava")).unwrap_err();
    assert_says(&error, &["model_type is `llava`", "`paligemma`"]);
    let error = PaliGemmaConfig::from_json(r#"{"model_type": "llama", "vocab_size": 32000}"#);
    assert_says(&error.unwrap_err(), &["`llama`"]);
    let error = with("/text_config/model_type", json!("gemma3_text")).unwrap_err();
    assert_says(&error, &["text_config.model_type is `gemma3_text`", "`gemma`"]);
    let error = with("/vision_config/model_type", json!("clip_vision_model")).unwrap_err();
    assert_says(&error, &["vision_config.model_type", "clip_vision_model"]);
    let error = with("/quantization_config", json!({"quant_method": "bitsandbytes"})).unwrap_err();
    assert_says(&error, &["quantised (bitsandbytes)"]);
}

#[test]
fn settings_that_are_not_computed_are_refused() {
    for (pointer, value) in [
        ("/tie_word_embeddings", json!(false)),
        ("/text_config/tie_word_embeddings", json!(false)),
        ("/text_config/attention_bias", json!(true)),
        ("/text_config/rope_scaling", json!({"type": "linear"})),
        ("/vision_config/vision_use_head", json!(true)),
    ] {
        let field = pointer[1..].replace('/', ".");
        assert_says(&with(pointer, value).unwrap_err(), &[&field, "but must be"]);
    }
}

#[test]
fn impossible_and_absurd_sizes_are_refused() {
    for (pointer, value, expected) in [
        ("/text_config/num_hidden_layers", json!(0), "between 1 and"),
        ("/text_config/vocab_size", json!(1_u64 << 60), "between 1 and"),
        ("/vision_config/image_size", json!(1_000_000), "between 1 and"),
        ("/text_config/num_key_value_heads", json!(3), "num_key_value_heads (3)"),
        ("/text_config/head_dim", json!(255), "a multiple"),
        ("/vision_config/num_attention_heads", json!(7), "num_attention_heads (7)"),
        ("/vision_config/image_size", json!(225), "patch_size (14)"),
        ("/vision_config/num_channels", json!(1), "3 (RGB)"),
        ("/projection_dim", json!(1024), "vision_config.projection_dim is 2048"),
        ("/text_config/hidden_size", json!(2304), "projection_dim is 2048"),
        ("/text_config/rms_norm_eps", json!(0.0), "above 0"),
        ("/image_token_index", json!(300_000), "vocab_size (257216)"),
        ("/bos_token_id", json!(257_216), "vocab_size (257216)"),
    ] {
        assert_says(&with(pointer, value).unwrap_err(), &[expected]);
    }
    // Pictures take the place of the image token: big_vision's table has no row for it.
    assert_eq!(with("/text_config/vocab_size", json!(257_152)).unwrap().text.vocab_size, 257_152);
}

#[test]
fn broken_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = PaliGemmaConfig::open(folder.path().join("config.json")).unwrap_err();
    assert_says(&missing, &["cannot read", "config.json"]);
    for (text, part) in [
        ("", "EOF"),
        ("{\"model_type\": \"paligemma\"", "EOF"),
        ("[]", "config.json"),
        ("{\"model_type\": \"paligemma\"}", "missing field `text_config`"),
    ] {
        fs::write(folder.path().join("config.json"), text).unwrap();
        let error = PaliGemmaConfig::open(folder.path()).unwrap_err();
        assert_says(&error, &["config.json", part]);
    }
    let error = with("/text_config/hidden_size", json!(-1)).unwrap_err();
    assert_says(&error, &["not a PaliGemma configuration"]);
}
