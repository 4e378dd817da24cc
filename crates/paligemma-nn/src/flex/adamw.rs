//! A step of AdamW in one pass, in place where a tensor has no other owner.

use burn::tensor::DType;
use burn_flex::{Flex, FlexTensor};
use paligemma_packed::math::vectorised;
use rayon::prelude::*;

use super::vector::PIECE;
use super::{Float, Values, whole};
use crate::{AdamWStep, composed};

pub(super) fn step(
    parameter: Float,
    gradient: Float,
    moments: Option<[Float; 2]>,
    step: AdamWStep,
) -> [Float; 3] {
    if parameter.dtype() != DType::F32 || gradient.dtype() != DType::F32 {
        return composed::adamw::step::<Flex>(parameter, gradient, moments, step);
    }
    let shape = parameter.layout().shape().clone();
    let [first, second] =
        moments.unwrap_or_else(|| [(); 2].map(|()| FlexTensor::zeros(shape.clone(), DType::F32)));
    let [mut parameter, mut first, mut second] = [parameter, first, second].map(whole);
    let gradient = Values::new(gradient);
    let pieces = parameter
        .storage_mut::<f32>()
        .par_chunks_mut(PIECE)
        .zip(first.storage_mut::<f32>().par_chunks_mut(PIECE))
        .zip(second.storage_mut::<f32>().par_chunks_mut(PIECE))
        .zip(gradient.get().par_chunks(PIECE));
    let update = Update::new(step);
    pieces.for_each(|(((parameter, first), second), gradient)| {
        vectorised(
            #[inline(always)]
            || update.piece([parameter, first, second], gradient),
        );
    });
    [parameter, first, second]
}

/// The numbers of a step in f32.
struct Update {
    beta: [f32; 2],
    rest: [f32; 2],
    scale: [f32; 2],
    epsilon: f32,
    kept: f32,
    rate: f32,
}

impl Update {
    fn new(step: AdamWStep) -> Self {
        let AdamWStep { rate, beta_1, beta_2, epsilon, .. } = step;
        Self {
            beta: [beta_1, beta_2].map(|beta| beta as f32),
            rest: [beta_1, beta_2].map(|beta| (1.0 - beta) as f32),
            scale: step.corrections().map(|scale| scale as f32),
            epsilon: epsilon as f32,
            kept: step.kept() as f32,
            rate: rate as f32,
        }
    }

    #[inline(always)]
    fn piece(&self, [parameter, first, second]: [&mut [f32]; 3], gradient: &[f32]) {
        let state = parameter.iter_mut().zip(first).zip(second);
        for (((parameter, first), second), &gradient) in state.zip(gradient) {
            *first = self.beta[0] * *first + self.rest[0] * gradient;
            *second = self.beta[1] * *second + self.rest[1] * gradient * gradient;
            let deviation = (*second * self.scale[1]).sqrt() + self.epsilon;
            let update = *first * self.scale[0] / deviation;
            *parameter = self.kept * *parameter - self.rate * update;
        }
    }
}
