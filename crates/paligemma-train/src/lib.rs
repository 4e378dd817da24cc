//! Transfer of PaliGemma: loss, optimiser, schedule and checkpoints of a run.
//!
//! Everything works on `Model<Autodiff<B>>` for any backend `B` of the workspace.

mod backward;
mod batch;
mod gradients;
mod loss;
mod optimizer;
mod pieces;
mod run;
mod schedule;

pub use backward::{Backward, Batch};
pub use batch::{Row, Rows};
pub use gradients::{Gradients, trained_parameters};
pub use loss::{Loss, Mean, suffix_loss};
pub use optimizer::{MixedOptimizer, OptimizerConfig, numbered};
pub use run::{Progress, RunDirectory, RunError};
pub use schedule::Schedule;
