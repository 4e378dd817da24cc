//! Sums of the residual stream and a branch, by all threads.

use burn::tensor::DType;
use burn_backend::ops::FloatTensorOps;
use burn_flex::Flex;
use paligemma_packed::math::vectorised;
use rayon::prelude::*;

use super::vector::PIECE;
use super::{Float, Values, whole};

pub(super) fn add(stream: Float, branch: Float) -> Float {
    let exact = stream.dtype() == DType::F32 && branch.dtype() == DType::F32;
    if !exact || stream.layout().shape() != branch.layout().shape() {
        return Flex::float_add(stream, branch);
    }
    // The stream is mostly kept for a gradient, the branch is mostly no longer needed.
    let mut branch = whole(branch);
    let stream = Values::new(stream);
    let pieces = branch.storage_mut::<f32>().par_chunks_mut(PIECE);
    pieces.zip(stream.get().par_chunks(PIECE)).for_each(|(branch, stream)| {
        vectorised(
            #[inline(always)]
            || branch.iter_mut().zip(stream).for_each(|(sum, &value)| *sum += value),
        );
    });
    branch
}
