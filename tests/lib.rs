//! What the reference computed, and the table of cases and devices that compares with it.
//!
//! A case knows no backend and a backend knows no case: [`conformance::Case`] is measured on
//! whatever [`paligemma::DeviceSpec`] names.

pub mod conformance;
pub mod reference;
