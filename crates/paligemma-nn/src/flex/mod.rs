//! Kernels of the CPU backend: one pass over memory, all threads, vector instructions chosen at
//! run time. Other dtypes than f32 are converted on the way in and out.
#![expect(
    clippy::inline_always,
    reason = "what is not inlined into a vectorised loop is compiled without vector instructions"
)]

mod activation;
mod adamw;
mod attention;
mod decoding;
#[cfg(test)]
mod gradients;
mod linear;
mod norm;
mod packed;
mod residual;
mod rotary;
mod slots;
#[cfg(test)]
mod tests;
mod vector;

use burn::tensor::ops::{BoolTensor, FloatTensor, IntTensor};
use burn::tensor::{DType, FloatDType, Shape};
use burn_backend::ops::FloatTensorOps;
use burn_flex::{Flex, FlexTensor};
use paligemma_packed::{Activation, PackedLayout};

use crate::{AdamWStep, AttentionGradients, NnBackend, Precision, Scoring};

type Float = FloatTensor<Flex>;

/// The f32 values of a tensor, one after the other, which are all that its storage has.
struct Values(FlexTensor);

impl Values {
    fn new(tensor: FlexTensor) -> Self {
        let tensor = if tensor.dtype() == DType::F32 {
            tensor
        } else {
            Flex::float_cast(tensor, FloatDType::F32)
        };
        Self(tensor.to_contiguous())
    }

    fn shape(&self) -> &Shape {
        self.0.layout().shape()
    }

    fn get(&self) -> &[f32] {
        self.0.storage()
    }
}

/// The tensor by itself, from the beginning to the end of its storage: its own where it already is.
/// A clone would share the storage, and writing would copy it.
fn whole(tensor: FlexTensor) -> FlexTensor {
    let layout = tensor.layout();
    let bytes = layout.num_elements() * tensor.dtype().size();
    let alone = layout.is_contiguous() && layout.start_offset() == 0;
    if alone && tensor.bytes().len() == bytes { tensor } else { tensor.to_contiguous() }
}

/// A new tensor from f32 values, in the dtype its operands had.
fn output(values: Vec<f32>, shape: Shape, dtype: DType) -> FlexTensor {
    let tensor = FlexTensor::from_data(burn::tensor::TensorData::new(values, shape));
    if dtype == DType::F32 { tensor } else { Flex::float_cast(tensor, dtype.into()) }
}

impl NnBackend for Flex {
    fn rms_norm(x: Float, weight: Float, epsilon: f64) -> Float {
        norm::rms_norm(x, weight, epsilon as f32)
    }

    fn rms_norm_backward(x: Float, weight: Float, epsilon: f64, grad: Float) -> [Float; 2] {
        norm::rms_norm_backward(x, weight, epsilon as f32, grad)
    }

    fn affine_norm(x: Float, weight: Float, bias: Float, epsilon: f64) -> Float {
        norm::layer_norm(x, weight, bias, epsilon as f32)
    }

    fn affine_norm_backward(x: Float, weight: Float, epsilon: f64, grad: Float) -> [Float; 3] {
        norm::layer_norm_backward(x, weight, epsilon as f32, grad)
    }

    fn tanh_gelu(x: Float) -> Float {
        activation::gelu(x)
    }

    fn tanh_gelu_backward(x: Float, grad: Float) -> Float {
        activation::gelu_backward(x, grad)
    }

    fn gated_gelu(gate: Float, up: Float) -> Float {
        activation::gated_gelu(gate, up)
    }

    fn gated_gelu_backward(gate: Float, up: Float, grad: Float) -> [Float; 2] {
        activation::gated_gelu_backward(gate, up, grad)
    }

    fn rotate(x: Float, cos: Float, sin: Float) -> Float {
        rotary::rotate(x, cos, sin)
    }

    fn write_slots(buffer: Float, start: usize, values: Float) -> Float {
        slots::write(buffer, start, values)
    }

    fn grouped_attention(
        query: Float,
        key: Float,
        value: Float,
        masked: Option<BoolTensor<Self>>,
        scoring: Scoring,
        precision: Precision,
    ) -> Float {
        attention::attention(query, key, value, masked, scoring, precision)
    }

    fn grouped_attention_backward(
        query: Float,
        key: Float,
        value: Float,
        masked: Option<BoolTensor<Self>>,
        scoring: Scoring,
        grad: Float,
    ) -> AttentionGradients<Self> {
        attention::attention_backward([query, key, value, grad], masked, scoring)
    }

    fn residual(stream: Float, branch: Float) -> Float {
        residual::add(stream, branch)
    }

    fn adamw(
        parameter: Float,
        gradient: Float,
        moments: Option<[Float; 2]>,
        step: AdamWStep,
    ) -> [Float; 3] {
        adamw::step(parameter, gradient, moments, step)
    }

    fn dense_linear(x: Float, weight: Float, bias: Option<Float>) -> Float {
        linear::linear(x, weight, bias)
    }

    fn packed_linear(
        x: Float,
        packed: IntTensor<Self>,
        layout: PackedLayout,
        bias: Option<Float>,
        activation: Activation,
    ) -> Float {
        packed::linear(x, &packed, layout, bias, activation)
    }

    fn packed_linear_backward(packed: IntTensor<Self>, layout: PackedLayout, grad: Float) -> Float {
        packed::linear_backward(&packed, layout, grad)
    }

    fn packed_rows(packed: IntTensor<Self>, layout: PackedLayout, ids: IntTensor<Self>) -> Float {
        packed::rows(&packed, layout, ids)
    }
}
