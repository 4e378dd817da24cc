//! Transfer of PaliGemma: loss, optimiser, schedule and checkpoints of a run.
//!
//! Everything works on `Model<Autodiff<B>>` for any backend `B` of the workspace.

mod adamw;
mod adapters;
mod backward;
mod batch;
mod examples;
mod finetune;
mod gradients;
mod groups;
mod log;
mod loss;
mod memory;
mod optimizer;
mod peers;
mod pieces;
mod run;
mod schedule;
mod settings;
mod trainer;

pub use adamw::FusedAdamW;
pub use adapters::Lora;
pub use backward::{Backward, Batch};
pub use batch::{Row, Rows};
pub use examples::{Examples, ExamplesError, HostBatch};
pub use finetune::{Event, Finetune, FinetuneError, Judge, JudgeError, Outcome};
pub use gradients::{Gradients, trained_parameters};
pub use groups::{Names, Parameter, Selection, SelectionError, select};
pub use log::{Line, Log};
pub use loss::{Loss, Mean, hidden_loss, suffix_loss};
pub use memory::TrainingNeeds;
pub use optimizer::{MixedOptimizer, OptimizerConfig, StateError, numbered};
pub use peers::{Peers, PeersError};
pub use run::{Progress, RunDirectory, RunError};
pub use schedule::Schedule;
pub use settings::{LoraSettings, Settings};
pub use trainer::{Stepped, Trainer};
