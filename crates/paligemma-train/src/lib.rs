//! Transfer of PaliGemma: loss, optimiser, schedule and checkpoints of a run.
//!
//! Everything works on `Model<Autodiff<B>>` for any backend `B` of the workspace.

mod adamw;
mod batch;
mod loss;
mod optimizer;
mod run;
mod schedule;

pub use adamw::FusedAdamW;
pub use batch::{Row, Rows};
pub use loss::suffix_loss;
pub use optimizer::{MixedOptimizer, OptimizerConfig, numbered};
pub use run::{Progress, RunDirectory, RunError};
pub use schedule::Schedule;
