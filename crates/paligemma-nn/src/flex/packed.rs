//! Products with packed weights where they lie: in memory or in a mapped file.

use burn::tensor::{Shape, TensorData};
use burn_flex::FlexTensor;
use paligemma_packed::{Activation, PackedLayout};

use super::{Float, Values, output};
use crate::composed::packed::{indices, unpack};

/// The bytes of a packed matrix, which no operation moves: they begin where the tensor does.
fn bytes(packed: &FlexTensor) -> &[u8] {
    packed.storage::<u8>()
}

pub(super) fn linear(
    x: Float,
    packed: &FlexTensor,
    layout: PackedLayout,
    bias: Option<Float>,
    activation: Activation,
) -> Float {
    let (rows, dtype) = (x.layout().shape()[0], x.dtype());
    let x = Values::new(x);
    let bias = bias.map(Values::new);
    let bias = bias.as_ref().map(Values::get);
    let values = layout.linear(bytes(packed), x.get(), bias, activation);
    output(values, Shape::from([rows, layout.outputs]), dtype)
}

pub(super) fn linear_backward(packed: &FlexTensor, layout: PackedLayout, grad: Float) -> Float {
    let (rows, dtype) = (grad.layout().shape()[0], grad.dtype());
    let values = layout.linear_backward(bytes(packed), Values::new(grad).get());
    output(values, Shape::from([rows, layout.inputs]), dtype)
}

pub(super) fn rows(packed: &FlexTensor, layout: PackedLayout, ids: FlexTensor) -> Float {
    let ids: TensorData = ids.into_data();
    FlexTensor::from_data(unpack(bytes(packed), layout, indices(&ids)))
}
