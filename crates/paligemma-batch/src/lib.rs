//! Many pictures: rows of pictures and prompts in, answers on disk, in order and resumable.
//!
//! [`rows`] reads what is to be answered from a folder, a pattern or a JSONL file, [`Output`] begins
//! or takes up a file of results, and [`run`] fills it. The file is JSON lines, one per row and in
//! the order of the rows; if its name ends in `.parquet`, a table is made of them at the end.
//! [`answer_rows`] is the same without a file.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//!
//! use paligemma::{DeviceSpec, Dtype, Options, PaliGemma};
//! use paligemma_batch::{Job, Output, rows, run};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let rows = rows("photos", Some("caption en"))?;
//! let job = Job { rows, model: "pocket".to_owned(), options: Options::default() };
//! let output = Output::resume("captions.jsonl".as_ref(), &job)?;
//! let model = PaliGemma::pocket(DeviceSpec::Auto, Dtype::Auto)?;
//! let summary = run(&model, &job, &output, 8, |_| ControlFlow::Continue(()))?;
//! println!("{} rows, {} failed", summary.done, summary.failed);
//! # Ok(())
//! # }
//! ```

mod answers;
mod error;
mod job;
mod journal;
mod output;
mod read;
mod rows;
mod run;
mod shard;
mod table;

mod whole;
mod wire;

pub use answers::{Answers, Question};
pub use error::{BatchError, RowsError};
pub use job::Job;
pub use output::Output;
pub use rows::{Image, Row, rows};
pub use run::{Summary, answer_rows, run};
pub use shard::Shard;
