//! Adapters in the files of PEFT: `adapter_config.json` and `adapter_model.safetensors`.

mod config;
mod read;
mod write;

use std::path::PathBuf;

use serde_json::Value;

pub use config::AdapterConfig;
pub use read::{AdapterFile, TABLE};
pub use write::save_adapter;

use crate::source::SourceError;

/// The file that says what an adapter is.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";
/// The file with an adapter's factors.
pub(crate) const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
/// The same as PEFT wrote it before.
pub(crate) const OLDER_WEIGHTS: &str = "adapter_model.bin";

/// How the factors' names end, A and B.
const ENDINGS: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];
/// How PEFT begins the name of every tensor, before that of the module.
const BEGINNING: &str = "base_model.model.";

/// Whether a path in the modules is that of an adapter's factor.
pub fn is_factor(path: &str) -> bool {
    ENDINGS.iter().any(|ending| path.ends_with(ending))
}

/// Why an adapter cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The configuration cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The configuration is not JSON, or a field is missing or of the wrong type.
    #[error("{} is no adapter's configuration: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// The configuration asks for another method than plain `LoRA`.
    #[error(
        "{}: `{field}` is {found}, but only plain LoRA is supported: merge the adapter where it \
        was made, and use the merged checkpoint",
        path.display()
    )]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// Its value.
        found: Value,
    },
    /// A number of the configuration that no adapter can have.
    #[error("{}: `{field}` is {found}, but must be {expected}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// Its value.
        found: f64,
        /// What it has to be.
        expected: &'static str,
    },
    /// The weights cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A tensor that is no factor of an adapter.
    #[error("`{tensor}` in {} is no LoRA factor of a PaliGemma", path.display())]
    Name {
        /// The tensor.
        tensor: String,
        /// The file.
        path: PathBuf,
    },
    /// A factor without the other.
    #[error("`{tensor}` in {} stands alone: an adapter has both lora_A and lora_B", path.display())]
    Alone {
        /// The tensor that is there.
        tensor: String,
        /// The file.
        path: PathBuf,
    },
    /// A factor of another shape.
    #[error(
        "`{tensor}` in {} has shape {found:?}, expected {expected:?}; does the adapter belong to \
        this model, and the rank to the adapter?",
        path.display()
    )]
    Shape {
        /// The tensor.
        tensor: String,
        /// The file.
        path: PathBuf,
        /// The shape that the rank and the model lead to.
        expected: [usize; 2],
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A factor for a module that the model lacks.
    #[error(
        "`{tensor}` in {} is for a part that this model lacks{}; the nearest it has is `{nearest}`",
        path.display(), crate::load::others(*more)
    )]
    Unknown {
        /// The tensor.
        tensor: String,
        /// The file.
        path: PathBuf,
        /// How many other modules are missing.
        more: usize,
        /// The most similar part of the model.
        nearest: String,
    },
}
