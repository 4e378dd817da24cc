//! Dropout with a mask that is a function of its seed.

use burn::tensor::{Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::NnBackend;

/// Zeroes each value with a probability and divides the others by what is left of it, so that
/// the expectation stays (flax `nn.Dropout`, which big_vision's decoder uses).
///
/// The mask comes from the seed alone: a pass that is computed again, by another backend or in a
/// resumed run, drops the same values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The probability, from 0 to below 1.
    pub rate: f64,
    /// What the mask is drawn from.
    pub seed: u64,
}

impl Dropout {
    /// Drops values of `x`; each `place` of one seed has a mask of its own.
    ///
    /// # Shapes
    /// `x` and output of one shape
    pub fn forward<B: NnBackend, const D: usize>(
        &self,
        place: u64,
        x: Tensor<B, D>,
    ) -> Tensor<B, D> {
        let shape = x.dims();
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(place);
        let kept = (1.0 - self.rate).recip() as f32;
        let dropped_below = (self.rate * (u64::from(u32::MAX) + 1) as f64) as u32;
        let mut value = || if random.next_u32() < dropped_below { 0.0 } else { kept };
        let mask: Vec<f32> = (0..x.shape().num_elements()).map(|_| value()).collect();
        let mask = Tensor::from_data(TensorData::new(mask, shape), (&x.device(), x.dtype()));
        x * mask
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn_flex::{Flex, FlexDevice};

    use super::*;

    fn dropped(seed: u64, place: u64) -> Vec<f32> {
        let ones = Tensor::<Flex, 2>::ones([100, 100], &FlexDevice);
        let dropout = Dropout { rate: 0.3, seed };
        dropout.forward(place, ones).into_data().to_vec().unwrap()
    }

    #[test]
    fn the_share_of_zeroes_is_the_rate_and_the_mean_stays() {
        let values = dropped(7, 0);
        let zeroes = values.iter().filter(|&&value| value == 0.0).count();
        assert!((2800..3200).contains(&zeroes), "{zeroes}");
        assert!(values.iter().all(|&value| value == 0.0 || (value - 1.0 / 0.7).abs() < 1e-6));
    }

    #[test]
    fn a_mask_is_a_function_of_seed_and_place() {
        assert_eq!(dropped(7, 0), dropped(7, 0));
        assert_ne!(dropped(7, 0), dropped(7, 1));
        assert_ne!(dropped(7, 0), dropped(8, 0));
    }
}
