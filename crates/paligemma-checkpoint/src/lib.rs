//! Published PaliGemma checkpoints: files to modules and back.
//!
//! The only crate that knows tensor file names. It reads `config.json` ([`PaliGemmaConfig`]) and
//! weights, memory-mapped ([`Checkpoint`]): safetensors, `PyTorch`'s files, big_vision's npz and
//! burnpack ([`Format`]), under any of the spellings of tensor names in use ([`Layout`]); fills a lazy burn module ([`load_module`]) so
//! that every tensor of the module and of the file is accounted for ([`LoadReport`]); and writes
//! a module back in the published form ([`save_module`]). A mask VQ-VAE has a file of its own, in
//! safetensors or `NumPy`'s npz ([`load_masks`], [`save_masks`]). Adapters are read and written in
//! the files of PEFT ([`AdapterFile`], [`save_adapter`]), and merged ([`export`]). With the feature `hub`, [`hub`] fetches
//! models by their hub id.
//!
//! Weights keep the published layout, `[out, in]` for projections: nothing is transposed.
//!
//! # Example
//!
//! Any module whose field names are the published leaf names can be filled:
//!
//! ```
//! use burn::module::{Module, Param, ParamId};
//! use burn::tensor::{Tensor, backend::Backend};
//! use burn_flex::Flex;
//! use paligemma_checkpoint::{Checkpoint, load_module};
//!
//! #[derive(Module, Debug)]
//! struct Linear<B: Backend> {
//!     weight: Param<Tensor<B, 2>>,
//! }
//!
//! #[derive(Module, Debug)]
//! struct Projector<B: Backend> {
//!     linear: Linear<B>,
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A safetensors file of one tensor, `multi_modal_projector.linear.weight`, 1 row of 2.
//! let header = br#"{"multi_modal_projector.linear.weight":
//!     {"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}"#;
//! let mut file = (header.len() as u64).to_le_bytes().to_vec();
//! file.extend(header);
//! file.extend([0.5_f32, -2.0].map(f32::to_le_bytes).as_flattened());
//!
//! let checkpoint = Checkpoint::from_bytes(file)?;
//! let weight = Param::uninitialized(
//!     ParamId::new(),
//!     |device, _| Tensor::<Flex, 2>::zeros([1, 2], device),
//!     Default::default(),
//!     true,
//!     [1, 2].into(),
//! );
//! let empty = Projector { linear: Linear { weight } };
//! let (projector, report) = load_module(empty, &checkpoint, "multi_modal_projector", None)?;
//! assert_eq!(projector.linear.weight.val().into_data().to_vec::<f32>()?, [0.5, -2.0]);
//! assert_eq!(report.parameters, 2);
//! # Ok(())
//! # }
//! ```

mod adapter;
mod checkpoint;
mod config;
mod convert;
mod fingerprint;
mod finite;
mod formats;
mod held;
#[cfg(feature = "hub")]
pub mod hub;
mod json;
mod layout;
mod load;
mod masks;
mod merge;
mod names;
mod order;
mod packed;
mod report;
mod resolution;
mod save;
mod settings;
mod source;
mod write;

pub use adapter::{
    ADAPTER_CONFIG, AdapterConfig, AdapterError, AdapterFile, TABLE, is_factor, save_adapter,
};
pub use checkpoint::{Checkpoint, Elements, TensorInfo};
pub use config::{ColPaliConfig, ConfigError, PaliGemmaConfig};
pub use convert::{PackedPart, convert, other_files, write_packed};
pub use finite::NotFinite;
pub use formats::{Format, PickleProblem, TensorProblem};
pub use held::{Held, held_parameters};
pub use layout::{LAYOUTS, Layout, MASK_LAYOUT};
pub use load::{LoadError, Progress, check_module, load_module, load_packed};
pub use masks::{MASK_FILES, find_masks, load_masks, save_masks};
pub use merge::{Export, export};
pub use names::{ModulePath, parameter_shapes};
pub use report::{Ignored, LoadReport};
pub use resolution::settings_at_resolution;
pub use save::{SaveError, save_module};
pub use settings::{GENERATION, PREPROCESSOR, generation_faults, preprocessor_faults};
pub use source::SourceError;
pub use write::{Pending, write_checkpoint, write_files};

/// How weights may be written: `F32`, `F16` or `BF16`.
pub use burn::tensor::FloatDType as WeightType;
/// How a position table is brought to another size.
pub use paligemma_siglip::PositionFilter;
