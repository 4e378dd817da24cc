//! Training, step by step: examples in, a better model out.

use burn::module::AutodiffModule;
use burn::tensor::FloatDType;
use burn::tensor::backend::AutodiffBackend;
use paligemma::Model;
use paligemma_nn::{Dropout, NnBackend};

use crate::{
    Backward, Gradients, HostBatch, Loss, Mean, MixedOptimizer, Schedule, Settings, suffix_loss,
};

/// A model in training.
pub struct Trainer<A>
where
    A: NnBackend + AutodiffBackend,
    A::InnerBackend: NnBackend,
{
    /// The model as it is now.
    pub model: Model<A>,
    /// The optimiser with its state.
    pub optimizer: MixedOptimizer<A, Model<A>>,
    /// How the rate goes.
    pub schedule: Schedule,
    /// Steps done.
    pub steps: usize,
    settings: Settings,
    dtype: FloatDType,
    device: A::Device,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stepped {
    /// The loss of its examples, before the step.
    pub loss: f64,
    /// The norm of all gradients, before they were clipped.
    pub norm: f64,
    /// The rate.
    pub rate: f64,
}

impl<A> Trainer<A>
where
    A: NnBackend + AutodiffBackend,
    A::InnerBackend: NnBackend,
{
    /// A trainer of a model whose parameters are selected ([`crate::select`]), for so many examples;
    /// activations are computed in `dtype`.
    pub fn new(
        model: Model<A>,
        settings: Settings,
        examples: usize,
        dtype: FloatDType,
        device: A::Device,
    ) -> Self {
        let optimizer = MixedOptimizer::new(&model, settings.optimizer());
        let schedule = settings.schedule(examples);
        Self { model, optimizer, schedule, steps: 0, settings, dtype, device }
    }

    /// Trains on the examples of one step, given in parts.
    ///
    /// Everything that is drawn comes from the run's seed and the number of the step.
    pub fn step(&mut self, parts: Vec<HostBatch>) -> Stepped {
        // One stream of chance for a step: bits of the seed above those of its places.
        let seed = self.settings.seed.wrapping_add((self.steps as u64 + 1) << 24);
        if self.settings.lora.is_some_and(|lora| lora.dropout > 0.0) {
            A::seed(&self.device, seed);
        }
        let weight = |part: &HostBatch| match self.settings.loss.mean {
            Mean::Examples => part.examples() as f64,
            Mean::Tokens => part.tokens() as f64,
        };
        let total: f64 = parts.iter().map(weight).sum();
        let (mut loss, mut gradients) = (0.0, Gradients::default());
        for (number, part) in parts.into_iter().enumerate() {
            let share = weight(&part) / total;
            let backward = Backward {
                loss: self.settings.loss,
                dropout: self.dropout(seed.wrapping_add((number as u64) << 12)),
                recompute: self.settings.recompute,
                dtype: self.dtype,
            };
            let batch = part.on::<A::InnerBackend>(&self.device);
            let (value, found) = backward.run(&self.model, &batch);
            loss += share * value;
            let found = if share < 1.0 { found.scaled(share, &self.model) } else { found };
            gradients.merge(found, &self.model);
        }
        let norm = gradients.norm(&self.model);
        let clip = self.settings.clip;
        let gradients =
            if norm > clip { gradients.scaled(clip / norm, &self.model) } else { gradients };
        let factor = self.schedule.factor(self.steps);
        self.model = self.optimizer.step(self.model.clone(), gradients, factor);
        self.steps += 1;
        Stepped { loss, norm, rate: self.settings.learning_rate * factor }
    }

    fn dropout(&self, seed: u64) -> Option<Dropout> {
        let rate = self.settings.dropout;
        (rate > 0.0).then_some(Dropout { rate, seed })
    }

    /// The loss of examples that are not trained on, without smoothing: a mean over answers.
    ///
    /// # Errors
    /// What a batch could not be made for.
    pub fn measure<E>(
        &self,
        batches: impl Iterator<Item = Result<HostBatch, E>>,
    ) -> Result<f64, E> {
        let model = self.model.valid();
        let (mut sum, mut count) = (0.0, 0.0);
        for batch in batches {
            let batch = batch?;
            let examples = batch.examples() as f64;
            let batch = batch.on::<A::InnerBackend>(&self.device);
            let features = model.encode(batch.pixels.cast(self.dtype));
            let loss = suffix_loss(&model, features, &batch.rows, batch.pad, Loss::default());
            sum += examples * loss.into_data().iter::<f64>().sum::<f64>();
            count += examples;
        }
        Ok(sum / count)
    }
}
