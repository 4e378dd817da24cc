//! Scores of a model in training, by a metric that this crate does not know.

use std::error::Error;

use paligemma::PaliGemma;

/// Why there is no score.
pub type JudgeError = Box<dyn Error + Send + Sync>;

/// Scores a model as it is at some step.
pub trait Judge {
    /// Refuses a model whose answers could never be scored, before it is trained.
    ///
    /// # Errors
    /// What the model lacks.
    fn check(&self, model: &PaliGemma) -> Result<(), JudgeError>;

    /// The score of the model's answers.
    ///
    /// # Errors
    /// If an example cannot be answered, or its answer not be scored.
    fn score(&self, model: &PaliGemma) -> Result<f64, JudgeError>;
}
