//! The dense linear layer in burn's operations.

use burn::tensor::ops::FloatTensor;

use super::product::matmul;
use super::{primitive, tensor};
use crate::NnBackend;

/// See [`crate::NnBackend::dense_linear`].
pub(crate) fn linear<B: NnBackend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
) -> FloatTensor<B> {
    let output = matmul(tensor::<B, 2>(x), tensor::<B, 2>(weight).transpose());
    primitive(match bias {
        Some(bias) => output + tensor::<B, 1>(bias).unsqueeze(),
        None => output,
    })
}
