//! What is measured: random checkpoints of the published sizes, and a model's stages one by one.

pub mod random;
pub mod subject;
pub mod variant;
