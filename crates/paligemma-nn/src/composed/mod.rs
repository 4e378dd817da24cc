//! Every operation of [`NnBackend`](crate::NnBackend) in burn's own operations.

pub(crate) mod activation;
pub(crate) mod adamw;
pub(crate) mod attention;
pub(crate) mod linear;
pub(crate) mod norm;
pub(crate) mod packed;
pub(crate) mod product;

use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Tensor, TensorPrimitive};
use burn_backend::Backend;

/// Wraps a primitive.
pub(crate) fn tensor<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// Unwraps a tensor.
pub(crate) fn primitive<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

/// The operand in f32, and the dtype that the result must have again.
pub(crate) fn upcast<B: Backend, const D: usize>(x: FloatTensor<B>) -> (Tensor<B, D>, DType) {
    let x = tensor::<B, D>(x);
    let dtype = x.dtype();
    (cast(x, DType::F32), dtype)
}

/// Casts where the dtype differs.
pub(crate) fn cast<B: Backend, const D: usize>(x: Tensor<B, D>, dtype: DType) -> Tensor<B, D> {
    if x.dtype() == dtype { x } else { x.cast(dtype) }
}

/// See [`crate::NnBackend::write_slots`].
pub(crate) fn write_slots<B: Backend>(
    buffer: FloatTensor<B>,
    start: usize,
    values: FloatTensor<B>,
) -> FloatTensor<B> {
    let values = tensor::<B, 4>(values);
    let [batch, count, heads, width] = values.dims();
    let slots = [0..batch, start..start + count, 0..heads, 0..width];
    primitive(tensor::<B, 4>(buffer).slice_assign(slots, values))
}

/// See [`crate::NnBackend::rotate`].
pub(crate) fn rotate<B: Backend>(
    x: FloatTensor<B>,
    cos: FloatTensor<B>,
    sin: FloatTensor<B>,
) -> FloatTensor<B> {
    let (x, dtype) = upcast::<B, 4>(x);
    let [batch, length, heads, width] = x.dims();
    let half = width / 2;
    let angle = |t| tensor::<B, 3>(t).reshape([batch, length, 1, half]);
    let (cos, sin) = (angle(cos), angle(sin));
    let first = x.clone().slice([0..batch, 0..length, 0..heads, 0..half]);
    let second = x.slice([0..batch, 0..length, 0..heads, half..width]);
    let rotated = Tensor::cat(
        vec![
            first.clone() * cos.clone() - second.clone() * sin.clone(),
            second * cos + first * sin,
        ],
        3,
    );
    primitive(cast(rotated, dtype))
}
