//! The dense linear layer in burn's operations.

use burn::tensor::ops::FloatTensor;
use burn_backend::Backend;

use super::{primitive, tensor};

/// See [`crate::NnBackend::dense_linear`].
pub(crate) fn linear<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
) -> FloatTensor<B> {
    let output = tensor::<B, 2>(x).matmul(tensor::<B, 2>(weight).transpose());
    primitive(match bias {
        Some(bias) => output + tensor::<B, 1>(bias).unsqueeze(),
        None => output,
    })
}
