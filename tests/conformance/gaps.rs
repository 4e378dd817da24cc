//! Failures that are known and not ours, as data; one that stops failing must leave this list.

use paligemma::Dtype;

/// A failure that is expected.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// The device, without its number: `cuda`, not `cuda:0`.
    pub device: &'static str,
    /// What the model is held in.
    pub dtype: Dtype,
    /// The case by its name in the table.
    pub case: &'static str,
    /// Why it fails, and where that is reported.
    pub reason: &'static str,
}

/// Every expected failure.
pub const GAPS: &[Gap] = &[];
