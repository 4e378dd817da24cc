//! `AdapterConfig`: what `adapter_config.json` says, checked.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{ADAPTER_CONFIG, AdapterError};

/// What an adapter is, and which model it is for.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterConfig {
    /// The model it adds to: a folder or a hub id. PEFT leaves it out of adapters for models that it
    /// does not know by name.
    pub base: Option<String>,
    /// The version of that model, if not its main one.
    pub revision: Option<String>,
    /// The rank of its factors.
    pub rank: usize,
    /// What the product of the factors is worth, times the rank.
    pub alpha: f64,
    /// The part of its input's numbers that is left out in training.
    pub dropout: f64,
}

/// The fields that are used.
#[derive(Deserialize)]
struct Wire {
    base_model_name_or_path: Option<String>,
    revision: Option<String>,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    lora_dropout: f64,
}

/// Fields that would make the adapter another function of its factors, if they said anything.
/// Source: PEFT 0.21.2, `peft/tuners/lora/config.py`.
const MUST_BE_OFF: [&str; 18] = [
    "use_rslora",
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "fan_in_fan_out",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "velora_config",
    "megatron_config",
];

/// First values of the factors that leave the model itself as it was; others change its weights
/// when the adapter is made, which its file does not show.
const PLAIN_STARTS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

impl AdapterConfig {
    /// What the product of the factors is worth: `alpha / r`.
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }

    /// Reads the configuration in `folder`.
    ///
    /// # Errors
    /// If the file cannot be read, is none, or asks for more than plain `LoRA`.
    pub fn open(folder: &Path) -> Result<Self, AdapterError> {
        let path = folder.join(ADAPTER_CONFIG);
        let text = std::fs::read(&path)
            .map_err(|source| AdapterError::Read { path: path.clone(), source })?;
        let json = |source| AdapterError::Json { path: path.clone(), source };
        let fields: Map<String, Value> = serde_json::from_slice(&text).map_err(json)?;
        if let Some((field, found)) = unsupported(&fields) {
            return Err(AdapterError::Unsupported { path, field, found: found.clone() });
        }
        let wire: Wire = serde_json::from_value(Value::Object(fields)).map_err(json)?;
        let config = Self {
            base: wire.base_model_name_or_path,
            revision: wire.revision,
            rank: wire.r,
            alpha: wire.lora_alpha,
            dropout: wire.lora_dropout,
        };
        let refused = |field, found, expected| {
            Err(AdapterError::Value { path: path.clone(), field, found, expected })
        };
        if config.rank == 0 {
            return refused("r", 0.0, "at least 1");
        }
        if !(0.0..1.0).contains(&config.dropout) {
            return refused("lora_dropout", config.dropout, "at least 0 and below 1");
        }
        Ok(config)
    }

    /// The text of an `adapter_config.json` for an adapter of these modules of the base.
    ///
    /// Modules are named in full: PEFT takes a name for every module that ends so, and `q_proj`
    /// alone would be the vision tower's too.
    pub(crate) fn to_json(&self, modules: &[String]) -> String {
        // PEFT's own files have a whole number here.
        let alpha =
            if self.alpha.fract() == 0.0 { json!(self.alpha as i64) } else { json!(self.alpha) };
        let mut file = json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": self.base,
            "inference_mode": true,
            "r": self.rank,
            "lora_alpha": alpha,
            "lora_dropout": self.dropout,
            "target_modules": modules,
            "bias": "none",
            "fan_in_fan_out": false,
            "init_lora_weights": true,
            "modules_to_save": null,
            "rank_pattern": {},
            "alpha_pattern": {},
            "use_dora": false,
            "use_rslora": false,
        });
        if let Some(revision) = &self.revision {
            file["revision"] = json!(revision);
        }
        format!("{file:#}\n")
    }
}

/// The first field that asks for what is not computed here.
fn unsupported(fields: &Map<String, Value>) -> Option<(&'static str, &Value)> {
    let field = |name: &'static str| fields.get(name).map(|value| (name, value));
    let kind = field("peft_type").filter(|(_, value)| *value != "LORA");
    let bias = field("bias").filter(|(_, value)| !value.is_null() && *value != "none");
    let plain = |value: &Value| match value {
        Value::String(start) => PLAIN_STARTS.contains(&start.as_str()),
        value => value.is_boolean() || value.is_null(),
    };
    let start = field("init_lora_weights").filter(|(_, value)| !plain(value));
    let on = MUST_BE_OFF.into_iter().filter_map(field).find(|(_, value)| !is_off(value));
    kind.or(bias).or(start).or(on)
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
