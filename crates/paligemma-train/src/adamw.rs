//! AdamW in one pass over each parameter.

use burn::optim::{AdamWState, AdaptiveMomentumState, LearningRate, SimpleOptimizer};
use burn::tensor::Tensor;
use paligemma_nn::{AdamWStep, NnBackend, adamw};

/// AdamW with the state of burn's, in whose adaptor it goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FusedAdamW {
    /// Share of the first moment that stays.
    pub beta_1: f64,
    /// Share of the second moment that stays.
    pub beta_2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Share of a weight that a rate of 1 would take away.
    pub weight_decay: f64,
}

impl<B: NnBackend> SimpleOptimizer<B> for FusedAdamW {
    type State<const D: usize> = AdamWState<B, D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        parameter: Tensor<B, D>,
        gradient: Tensor<B, D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<B, D>, Option<Self::State<D>>) {
        let Self { beta_1, beta_2, epsilon, weight_decay } = *self;
        let (time, moments) = match state {
            Some(AdamWState { momentum }) => {
                (momentum.time + 1, Some([momentum.moment_1, momentum.moment_2]))
            }
            None => (1, None),
        };
        let step = AdamWStep { rate, beta_1, beta_2, epsilon, weight_decay, time: time as u32 };
        let [parameter, first, second] = adamw(parameter, gradient, moments, step);
        let momentum = AdaptiveMomentumState::new(time, first, second);
        (parameter, Some(AdamWState::new(momentum)))
    }

    fn to_device<const D: usize>(mut state: Self::State<D>, device: &B::Device) -> Self::State<D> {
        state.momentum = state.momentum.to_device(device);
        state
    }
}
