//! Files of JSON lines: a row `{"image": .., "prefix": .., "suffix": ..}` on each.

mod line;
mod read;
mod write;

pub use read::read_jsonl;
pub use write::write_jsonl;
