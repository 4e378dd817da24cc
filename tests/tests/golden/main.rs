//! Tests against the golden files, and properties that no golden file can show.

mod conformance;
mod judging;
mod masks;
mod segments;
