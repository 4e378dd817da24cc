//! Why a run ends before its end.

use std::path::PathBuf;

use paligemma::{Dtype, Size};
use paligemma_checkpoint::{AdapterError, SaveError, SourceError};
use paligemma_data::DataError;
use paligemma_processor::TokenizerError;
use thiserror::Error;

use super::JudgeError;
use crate::{ExamplesError, PeersError, RunError, SelectionError, StateError};

/// Why a run ended before its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FinetuneError {
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Examples for this model.
    #[error(transparent)]
    Examples(#[from] ExamplesError),
    /// What is trained.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The run's folder.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The model.
    #[error(transparent)]
    Model(#[from] paligemma::Error),
    /// A checkpoint that could not be written.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// An adapter that could not be used.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// Files beside the weights.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The optimiser's state.
    #[error(transparent)]
    Optimizer(#[from] StateError),
    /// A number that training cannot go on from.
    #[error(
        "step {step}: the loss is {loss} and the gradients' norm {norm}; the last checkpoint is from \
         before. Lower --lr, or compute in --dtype f32"
    )]
    NotFinite {
        /// Which step, from 1.
        step: usize,
        /// Its loss.
        loss: f64,
        /// Its gradients' norm.
        norm: f64,
    },
    /// A run is taken up with other examples.
    #[error(
        "{} has other rows than when the run began: give it the same again, or begin a new run",
        data.display()
    )]
    OtherExamples {
        /// The file.
        data: PathBuf,
    },
    /// The thread that prepares examples ended before its work did.
    #[error("no examples came for step {step}, by a fault of this program: go on with --resume")]
    Unprepared {
        /// Which step, from 1.
        step: usize,
    },
    /// Adapters for a model that is one already.
    #[error("{model} is an adapter already: write it out with `export --merge`, and train that")]
    AdapterOfAdapter {
        /// The model.
        model: String,
    },
    /// Packed matrices that are to be trained themselves.
    #[error(
        "{dtype} packs matrices, which cannot be trained: use --dtype f32, or train adapters (--lora)"
    )]
    Packed {
        /// How they are packed.
        dtype: Dtype,
    },
    /// The machine has too little memory for the run.
    #[error("the run takes {needed} of memory and {available} are free: {way}")]
    Memory {
        /// What has to be in memory at any time.
        needed: Size,
        /// What there is.
        available: Size,
        /// What would fit.
        way: String,
    },
    /// Answers that could not be scored.
    #[error(transparent)]
    Judge(#[from] JudgeError),
    /// Other workers.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// Numbers of a run that none can have.
    #[error("the {what} is {value}, but must be {expected}")]
    Setting {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: f64,
        /// What it has to be.
        expected: &'static str,
    },
}
