//! Pictures with prompts and answers, to train and to measure on: no tensors, no model.
//!
//! An [`Example`] is a row of a file of JSON lines, `{"image": .., "prefix": .., "suffix": ..}`.
//! [`read_jsonl`] checks every row before it gives any, and says which lines are wrong and why;
//! [`write_jsonl`] writes such a file whole or not at all.
//!
//! [`import_coco`], [`import_coco_masks`], [`import_yolo`], [`import_csv`], [`import_parquet`] and
//! [`import_folders`] make examples of what other programs keep.
//!
//! A [`Preset`] is the published recipe of a task. An [`Augmentation`] varies the pictures and a
//! [`Target`] chooses the answer for each [`Use`] of an example, the same whenever it is asked for.
//!
//! ```
//! use paligemma_data::read_jsonl;
//!
//! let folder = tempfile::tempdir().unwrap();
//! let file = folder.path().join("train.jsonl");
//! std::fs::write(&file, r#"{"image": "a.png", "prefix": "caption en", "sufix": "a cat"}"#).unwrap();
//! let error = read_jsonl(&file).unwrap_err().to_string();
//! assert!(error.contains("train.jsonl:1: \"sufix\" is no key of a row: did you mean \"suffix\"?"));
//! ```

mod augment;
mod error;
mod example;
mod fault;
mod import;
mod jsonl;
mod pictures;
mod presets;
mod seed;
mod target;
mod whole;

pub use augment::{Augmentation, NoSuchAugmentation};
pub use error::DataError;
pub use example::Example;
pub use fault::{Fault, LISTED, Place, Problem};
pub use import::{
    CocoOptions, Imported, MaskEncoder, Skip, TableOptions, YoloOptions, import_coco,
    import_coco_masks, import_csv, import_folders, import_parquet, import_yolo,
};
pub use jsonl::{read_jsonl, write_jsonl};
pub use presets::{Frames, Preset, PresetError};
pub use seed::Use;
pub use target::Target;
