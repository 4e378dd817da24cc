//! Pictures with prompts and answers, to train and to measure on: no tensors, no model.
//!
//! An [`Example`] is a row of a file of JSON lines, `{"image": .., "prefix": .., "suffix": ..}`.
//! [`read_jsonl`] checks every row before it gives any, and says which lines are wrong and why;
//! [`write_jsonl`] writes such a file whole or not at all.
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

mod error;
mod example;
mod fault;
mod jsonl;
mod pictures;
mod whole;

pub use error::DataError;
pub use example::Example;
pub use fault::{Fault, LISTED, Place, Problem};
pub use jsonl::{read_jsonl, write_jsonl};
