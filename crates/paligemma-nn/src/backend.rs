//! The operations that a backend may compute with a kernel of its own.

use burn::tensor::ops::{BoolTensor, FloatTensor, IntTensor};
use burn_backend::Backend;
use paligemma_packed::{Activation, PackedLayout};

use crate::composed;
use crate::{Precision, Scoring};

/// Gradients of [`NnBackend::grouped_attention`] for queries, keys and values, in their shapes.
#[derive(Debug)]
pub struct AttentionGradients<B: Backend> {
    /// For the queries, `[B, L, H, C]`.
    pub query: FloatTensor<B>,
    /// For the keys, `[B, S, K, C]`.
    pub key: FloatTensor<B>,
    /// For the values, `[B, S, K, C]`.
    pub value: FloatTensor<B>,
}

/// A step of AdamW (Loshchilov and Hutter, 2019): the weight decays by itself, beside the update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// The rate of the step.
    pub rate: f64,
    /// Share of the first moment that stays.
    pub beta_1: f64,
    /// Share of the second moment that stays.
    pub beta_2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Share of the weight that a rate of 1 would take away.
    pub weight_decay: f64,
    /// The number of the step, from 1.
    pub time: u32,
}

impl AdamWStep {
    /// Factors of the moments that make good that they began as nothing.
    pub(crate) fn corrections(&self) -> [f64; 2] {
        let time = f64::from(self.time);
        [self.beta_1, self.beta_2].map(|beta| 1.0 / (1.0 - beta.powf(time)))
    }

    /// Share of the weight that stays.
    pub(crate) fn kept(&self) -> f64 {
        1.0 - self.rate * self.weight_decay
    }
}

/// A burn backend with the fused operations of a vision-language model.
///
/// Every operation has a default that composes burn's own, so an empty `impl` makes a backend
/// usable; a backend overrides what it does better. The `_backward` operations are what
/// [`burn_autodiff::Autodiff`] calls, so a fused gradient is written once for every backend.
/// Norms, activations, rotations and softmax compute in f32 inside, whatever the dtype of their
/// operands, and return that dtype; products are those of the device for that dtype.
pub trait NnBackend: Backend {
    /// Whether burn's convolutions of f32 read fewer bits of their operands than these have, as the
    /// tensor cores of NVIDIA GPUs do: 11 of 24 (TensorFloat-32). See [`crate::exact_product`].
    const COARSE_PRODUCTS: bool = false;

    /// The product of matrices, whose operands have one type and, but for the last two, the same
    /// axes; f32 is multiplied and summed as f32.
    ///
    /// # Shapes
    /// `a` `[.., M, K]`, `b` `[.., K, N]` -> `[.., M, N]`
    fn matmul(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(a, b)
    }

    /// `x / rms(x) * (1 + weight)`, the norm of Gemma.
    ///
    /// # Shapes
    /// `x` `[N, D]`, `weight` `[D]` -> `[N, D]`
    fn rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        composed::norm::rms_norm::<Self>(x, weight, epsilon)
    }

    /// Gradients of [`NnBackend::rms_norm`] for `x` and `weight`.
    fn rms_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f64,
        grad: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2] {
        composed::norm::rms_norm_backward::<Self>(x, weight, epsilon, grad)
    }

    /// `(x - mean) / std * weight + bias` over the last axis.
    ///
    /// # Shapes
    /// `x` `[N, D]`, `weight` and `bias` `[D]` -> `[N, D]`
    fn affine_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        composed::norm::layer_norm::<Self>(x, weight, bias, epsilon)
    }

    /// Gradients of [`NnBackend::affine_norm`] for `x`, `weight` and `bias`.
    fn affine_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f64,
        grad: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 3] {
        composed::norm::layer_norm_backward::<Self>(x, weight, epsilon, grad)
    }

    /// The tanh form of GELU.
    ///
    /// # Shapes
    /// `x` `[N, D]` -> `[N, D]`
    fn tanh_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::activation::gelu::<Self>(x)
    }

    /// Gradient of [`NnBackend::tanh_gelu`].
    fn tanh_gelu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::activation::gelu_backward::<Self>(x, grad)
    }

    /// `gelu(gate) * up`, the gate of Gemma's feed-forward block.
    ///
    /// # Shapes
    /// `gate` and `up` `[N, D]` -> `[N, D]`
    fn gated_gelu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::activation::gated_gelu::<Self>(gate, up)
    }

    /// Gradients of [`NnBackend::gated_gelu`] for `gate` and `up`.
    fn gated_gelu_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2] {
        composed::activation::gated_gelu_backward::<Self>(gate, up, grad)
    }

    /// Rotates the two halves of every head by an angle per position (RoPE, half-split).
    ///
    /// # Shapes
    /// `x` `[B, L, H, C]`, `cos` and `sin` `[B, L, C / 2]` in f32 -> `[B, L, H, C]`
    fn rotate(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::rotate::<Self>(x, cos, sin)
    }

    /// Writes `values` into the slots of `buffer` from `start` on.
    ///
    /// # Shapes
    /// `buffer` `[B, S, K, C]`, `values` `[B, L, K, C]` -> `[B, S, K, C]`
    fn write_slots(
        buffer: FloatTensor<Self>,
        start: usize,
        values: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::write_slots::<Self>(buffer, start, values)
    }

    /// Softmax attention with grouped heads; `masked` is true where a query may not attend.
    ///
    /// # Shapes
    /// `query` `[B, L, H, C]`, `key` and `value` `[B, S, K, C]` with `H` a multiple of `K`,
    /// `masked` `[B, L, S]` -> `[B, L, H, C]`
    fn grouped_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        masked: Option<BoolTensor<Self>>,
        scoring: Scoring,
        _precision: Precision,
    ) -> FloatTensor<Self> {
        composed::attention::attention::<Self>(query, key, value, masked, scoring)
    }

    /// Gradients of [`NnBackend::grouped_attention`].
    fn grouped_attention_backward(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        masked: Option<BoolTensor<Self>>,
        scoring: Scoring,
        grad: FloatTensor<Self>,
    ) -> AttentionGradients<Self> {
        composed::attention::attention_backward::<Self>(query, key, value, masked, scoring, grad)
    }

    /// The sum of the residual stream and what a block adds to it.
    ///
    /// # Shapes
    /// `stream` and `branch` of one shape -> the same
    fn residual(stream: FloatTensor<Self>, branch: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_add(stream, branch)
    }

    /// A step of AdamW: the parameter and its two moments afterwards. Without moments it is the
    /// first. Nothing is recorded for a gradient.
    ///
    /// # Shapes
    /// All of one shape -> the same
    fn adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        moments: Option<[FloatTensor<Self>; 2]>,
        step: AdamWStep,
    ) -> [FloatTensor<Self>; 3] {
        composed::adamw::step::<Self>(parameter, gradient, moments, step)
    }

    /// `x W^T + bias`. Its gradients are products of the same kind, with operands transposed.
    ///
    /// # Shapes
    /// `x` `[N, in]`, `weight` `[out, in]`, `bias` `[out]` -> `[N, out]`
    fn dense_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        composed::linear::linear::<Self>(x, weight, bias)
    }

    /// `activation(x W^T + bias)` with a packed `W`, whose bytes are `packed`. `x` and the bias have
    /// gradients, the weight has none.
    ///
    /// # Shapes
    /// `x` `[N, in]`, `packed` `[bytes]` of u8, `bias` `[out]` -> `[N, out]`
    fn packed_linear(
        x: FloatTensor<Self>,
        packed: IntTensor<Self>,
        layout: PackedLayout,
        bias: Option<FloatTensor<Self>>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let output = composed::packed::linear::<Self>(x, packed, layout, bias);
        match activation {
            Activation::Identity => output,
            Activation::TanhGelu => Self::tanh_gelu(output),
        }
    }

    /// Gradient of [`NnBackend::packed_linear`] for `x`, without bias and activation: `grad W`.
    ///
    /// # Shapes
    /// `packed` `[bytes]` of u8, `grad` `[N, out]` -> `[N, in]`
    fn packed_linear_backward(
        packed: IntTensor<Self>,
        layout: PackedLayout,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::packed::linear_backward::<Self>(packed, layout, grad)
    }

    /// Rows of a packed matrix, in f32.
    ///
    /// # Shapes
    /// `packed` `[bytes]` of u8, `ids` `[N]` -> `[N, in]`
    fn packed_rows(
        packed: IntTensor<Self>,
        layout: PackedLayout,
        ids: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::packed::rows::<Self>(packed, layout, ids)
    }
}

#[cfg(feature = "ndarray")]
impl NnBackend for burn_ndarray::NdArray {}

#[cfg(feature = "wgpu")]
impl NnBackend for burn_wgpu::Wgpu {}

#[cfg(feature = "cuda")]
impl NnBackend for burn_cuda::Cuda {
    // cubek 0.2.0 stages f32 as tf32 for tensor cores (`adjust_dtypes` of cubek-matmul), and which
    // kernels convolve is found by timing them.
    const COARSE_PRODUCTS: bool = true;

    fn matmul(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        use burn_cubecl::{CubeBackend, cubecl::cuda::CudaRuntime};
        crate::cube::matmul::<_, CubeBackend<CudaRuntime, f32, i32, u8>>(a, b)
    }
}
