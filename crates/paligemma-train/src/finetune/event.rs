//! What a run tells of itself.

use crate::{Parameter, Stepped, TrainingNeeds};

/// What happens in a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// The model is there; `steps` of `total` were done before.
    Begun {
        /// All parameters.
        parameters: &'a [Parameter],
        /// Examples to train on.
        examples: usize,
        /// Steps done before.
        steps: usize,
        /// Steps of the whole run.
        total: usize,
        /// The memory that the run takes, by an estimate.
        needs: TrainingNeeds,
    },
    /// A step was done.
    Step {
        /// Steps done.
        steps: usize,
        /// Steps of the whole run.
        total: usize,
        /// Passes over the data that these are.
        epoch: f64,
        /// What it came to.
        stepped: Stepped,
        /// Examples a second, since the run began or was taken up.
        pace: f64,
        /// Seconds until the end at that pace.
        left: f64,
    },
    /// The held-out examples were measured.
    Measured {
        /// Steps done.
        steps: usize,
        /// Their loss.
        loss: f64,
        /// The score of the answers to them, where there is a judge.
        score: Option<f64>,
    },
    /// A checkpoint was written.
    Saved {
        /// Steps done.
        steps: usize,
    },
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps were done.
    Done,
    /// It was stopped after a step, and a checkpoint written: it can be taken up.
    Stopped {
        /// Steps done.
        steps: usize,
        /// Steps of the whole run.
        total: usize,
    },
}
