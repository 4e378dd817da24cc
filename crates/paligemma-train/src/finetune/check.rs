//! What no run can be.

use burn::tensor::FloatDType;
use paligemma::Storage;

use super::FinetuneError;
use crate::Settings;

impl Settings {
    /// Refuses numbers that no run can have.
    ///
    /// # Errors
    /// The first such number.
    pub fn check(&self) -> Result<(), FinetuneError> {
        let refused = |what, value, expected| Err(FinetuneError::Setting { what, value, expected });
        for (what, value) in [
            ("number of epochs", self.epochs),
            ("batch size", self.batch_size),
            ("number of parts of a batch", self.accumulate),
            ("number of steps between checkpoints", self.save_every),
        ] {
            if value == 0 {
                return refused(what, 0.0, "at least 1");
            }
        }
        for (what, value) in [("rate", self.learning_rate), ("norm to clip at", self.clip)] {
            if !(value.is_finite() && value > 0.0) {
                return refused(what, value, "above 0");
            }
        }
        for (what, value) in [
            ("dropout", self.dropout),
            ("label smoothing", self.loss.label_smoothing),
            ("weight decay", self.weight_decay),
        ] {
            if !(0.0..1.0).contains(&value) {
                return refused(what, value, "at least 0 and below 1");
            }
        }
        Ok(())
    }

    /// How the model is held: a model whose own parameters are trained is there in f32, whatever
    /// activations are computed in; under adapters it stays as `dtype` says.
    pub fn held(&self, storage: Storage) -> Storage {
        if self.lora.is_some() { storage } else { Storage::Dense(FloatDType::F32) }
    }
}
