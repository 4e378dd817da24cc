//! Training, step by step: examples in, a better model out.

use burn::module::{AutodiffModule, Module, ModuleVisitor, Param};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{FloatDType, Tensor};
use paligemma::Model;
use paligemma_nn::{Dropout, NnBackend};

use crate::gradients::sum_of_squares;
use crate::{
    Backward, Gradients, HostBatch, Lora, Loss, Mean, MixedOptimizer, Peers, PeersError, Schedule,
    Selection, Settings, suffix_loss,
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
    /// Who else trains the same model.
    pub peers: Peers,
    settings: Settings,
    /// Adapters that are trained, for what they drop.
    lora: Option<Lora>,
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
        selection: Selection,
        examples: usize,
        dtype: FloatDType,
        device: A::Device,
    ) -> Self {
        let lora = match selection {
            Selection::Lora(lora) => Some(lora),
            Selection::Parameters(_) => None,
        };
        let optimizer = MixedOptimizer::new(&model, settings.optimizer());
        let schedule = settings.schedule(examples);
        let (steps, peers) = (0, Peers::alone());
        Self { model, optimizer, schedule, steps, peers, settings, lora, dtype, device }
    }

    /// Trains on the examples of one step, given in parts; of several workers, each on its own.
    ///
    /// Everything that is drawn comes from the run's seed and the number of the step.
    ///
    /// # Errors
    /// If other workers are lost.
    pub fn step(&mut self, parts: Vec<HostBatch>) -> Result<Stepped, PeersError> {
        let total: f64 = parts.iter().map(|part| self.weight(part)).sum();
        let total = self.peers.sum_numbers::<A::InnerBackend>(&[total], &self.device)?[0];
        let (loss, gradients) = self.descent(parts, total);
        let gradients = self.shared(gradients)?;
        let loss = self.peers.sum_numbers::<A::InnerBackend>(&[loss], &self.device)?[0];
        let norm = gradients.norm(&self.model);
        let clip = self.settings.clip;
        let gradients =
            if norm > clip { gradients.scaled(clip / norm, &self.model) } else { gradients };
        let factor = self.schedule.factor(self.steps);
        self.model = self.optimizer.step(self.model.clone(), gradients, factor);
        self.steps += 1;
        Ok(Stepped { loss, norm, rate: self.settings.learning_rate * factor })
    }

    /// What a part counts in the mean of its step.
    fn weight(&self, part: &HostBatch) -> f64 {
        match self.settings.loss.mean {
            Mean::Examples => part.examples() as f64,
            Mean::Tokens => part.tokens() as f64,
        }
    }

    /// The parts of the loss and of the gradients that these examples are, of a step that weighs
    /// `total`.
    fn descent(&self, parts: Vec<HostBatch>, total: f64) -> (f64, Gradients) {
        // One stream of chance for a step: bits of the seed above those of its places.
        let seed = self.settings.seed.wrapping_add((self.steps as u64 + 1) << 24);
        let (mut loss, mut gradients) = (0.0, Gradients::default());
        for (number, part) in parts.into_iter().enumerate() {
            let share = self.weight(&part) / total;
            // Workers drop different things.
            let number = number * self.peers.count() + self.peers.rank();
            let part_seed = seed.wrapping_add((number as u64) << 12);
            let backward = Backward {
                loss: self.settings.loss,
                dropout: self.dropout(part_seed),
                recompute: self.settings.recompute,
                dtype: self.dtype,
            };
            let batch = part.on::<A::InnerBackend>(&self.device);
            let model = match &self.lora {
                Some(lora) => lora.dropped(self.model.clone(), part_seed),
                None => self.model.clone(),
            };
            let (value, found) = backward.run(&model, &batch);
            loss += share * value;
            let found = if share < 1.0 { found.scaled(share, &self.model) } else { found };
            gradients.merge(found, &self.model);
        }
        (loss, gradients)
    }

    /// The sum of all workers' gradients, each of which is its part of the mean.
    fn shared(&self, gradients: Gradients) -> Result<Gradients, PeersError> {
        if self.peers.count() == 1 {
            return Ok(gradients);
        }
        let vectors = gradients.into_vectors(&self.model);
        Ok(Gradients::from_vectors(self.peers.sum_all(vectors)?, &self.model))
    }

    /// A number that tells the trained parameters from others; equal parameters have the same.
    pub(crate) fn fingerprint(&self) -> u64 {
        struct Sum(u64);

        impl<A: AutodiffBackend> ModuleVisitor<A> for Sum {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<A, D>>) {
                let value = param.val();
                if value.is_require_grad() {
                    self.0 = self.0.rotate_left(7) ^ sum_of_squares(value.inner()).to_bits();
                }
            }
        }
        let mut sum = Sum(0);
        self.model.visit(&mut sum);
        sum.0
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
