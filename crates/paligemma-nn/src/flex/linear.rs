//! Products with dense weights, each operand read where and as it lies.

use burn::tensor::{DType, Shape};
use burn_flex::{Flex, FlexTensor};
use paligemma_packed::dense::{Matrix, product};

use super::{Float, Values, output};
use crate::composed;

/// A tensor of two axes none of which runs backwards.
struct Operand(FlexTensor);

impl Operand {
    fn new(tensor: FlexTensor) -> Self {
        let forwards = tensor.layout().strides().iter().all(|&stride| stride >= 0);
        Self(if forwards { tensor } else { tensor.to_contiguous() })
    }

    fn matrix(&self) -> Matrix<'_> {
        let layout = self.0.layout();
        let values = &self.0.storage::<f32>()[layout.start_offset()..];
        let strides = layout.strides();
        Matrix { values, row: strides[0] as usize, column: strides[1] as usize }
    }
}

pub(super) fn linear(x: Float, weight: Float, bias: Option<Float>) -> Float {
    let (rows, inputs) = (x.layout().shape()[0], x.layout().shape()[1]);
    let outputs = weight.layout().shape()[0];
    assert_eq!(weight.layout().shape()[1], inputs, "the weight is for another width");
    let exact = x.dtype() == DType::F32 && weight.dtype() == DType::F32;
    if !exact {
        return composed::linear::linear::<Flex>(x, weight, bias);
    }
    let (x, weight, bias) = (Operand::new(x), Operand::new(weight), bias.map(Values::new));
    let bias = bias.as_ref().map(Values::get);
    let values = product([rows, inputs, outputs], x.matrix(), weight.matrix().transposed(), bias);
    output(values, Shape::from([rows, outputs]), DType::F32)
}
