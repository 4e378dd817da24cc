//! Packed weights by unpacking them: right on every backend, quick on none.

use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_backend::Backend;
use paligemma_packed::PackedLayout;

use super::product::matmul;
use super::{cast, primitive, tensor, upcast};
use crate::NnBackend;

/// See [`crate::NnBackend::packed_linear`].
pub(crate) fn linear<B: NnBackend>(
    x: FloatTensor<B>,
    packed: IntTensor<B>,
    layout: PackedLayout,
    bias: Option<FloatTensor<B>>,
) -> FloatTensor<B> {
    let (x, dtype) = upcast::<B, 2>(x);
    let packed = Tensor::<B, 1, Int>::from_primitive(packed).into_data();
    let weight = unpack(&packed.bytes, layout, 0..layout.outputs);
    let weight = Tensor::<B, 2>::from_data(weight, (&x.device(), DType::F32));
    let mut output = matmul(x, weight.transpose());
    if let Some(bias) = bias {
        output = output + cast(tensor::<B, 1>(bias), DType::F32).unsqueeze();
    }
    primitive(cast(output, dtype))
}

/// See [`crate::NnBackend::packed_linear_backward`].
pub(crate) fn linear_backward<B: NnBackend>(
    packed: IntTensor<B>,
    layout: PackedLayout,
    grad: FloatTensor<B>,
) -> FloatTensor<B> {
    let (grad, dtype) = upcast::<B, 2>(grad);
    let packed = Tensor::<B, 1, Int>::from_primitive(packed).into_data();
    let weight = unpack(&packed.bytes, layout, 0..layout.outputs);
    let weight = Tensor::<B, 2>::from_data(weight, (&grad.device(), DType::F32));
    primitive(cast(matmul(grad, weight), dtype))
}

/// See [`crate::NnBackend::packed_rows`].
pub(crate) fn rows<B: Backend>(
    packed: IntTensor<B>,
    layout: PackedLayout,
    ids: IntTensor<B>,
) -> FloatTensor<B> {
    let ids = Tensor::<B, 1, Int>::from_primitive(ids);
    let device = ids.device();
    let packed = Tensor::<B, 1, Int>::from_primitive(packed).into_data();
    let rows = unpack(&packed.bytes, layout, indices(&ids.into_data()));
    primitive(Tensor::<B, 2>::from_data(rows, (&device, DType::F32)))
}

/// Ids as indices of rows.
pub(crate) fn indices(ids: &TensorData) -> Vec<usize> {
    ids.iter::<i64>().map(|id| usize::try_from(id).unwrap_or(usize::MAX)).collect()
}

/// Some rows of a packed matrix, `[N, in]` in f32.
pub(crate) fn unpack(
    packed: &[u8],
    layout: PackedLayout,
    rows: impl IntoIterator<Item = usize>,
) -> TensorData {
    let rows: Vec<usize> = rows.into_iter().collect();
    let mut values = vec![0.0; rows.len() * layout.inputs];
    for (&row, out) in rows.iter().zip(values.chunks_exact_mut(layout.inputs.max(1))) {
        layout.row(packed, row, out);
    }
    TensorData::new(values, [rows.len(), layout.inputs])
}
