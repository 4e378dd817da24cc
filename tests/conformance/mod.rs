//! The conformance table: every case on every device and dtype, against the reference.

mod beams;
mod bench;
mod case;
mod decoding;
mod gaps;
mod gradients;
mod layout;
mod masks;
mod measured;
mod properties;
mod run;
mod steps;
mod table;
mod training;
mod values;

pub use bench::Bench;
pub use case::Case;
pub use gaps::{GAPS, Gap};
pub use measured::{Measured, Quantity, TOLERANCES, Tolerance, tolerance};
pub use run::{Column, Outcome, columns, guarded};
pub use table::{Count, table};
