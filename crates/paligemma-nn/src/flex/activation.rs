//! GELU and gated GELU in one pass, forward and backward.

use burn_flex::FlexTensor;
use paligemma_packed::math::{GELU_CUBIC, GELU_SCALE, gelu_gate, tanh_gelu};

use super::vector::{fill_rows, make_rows};
use super::{Float, Values, output};

const SCALE: f32 = GELU_SCALE as f32;
const CUBIC: f32 = GELU_CUBIC as f32;

/// The derivative of `x * gate(x)`.
#[inline(always)]
fn slope(x: f32, gate: f32) -> f32 {
    gate + x * 2.0 * gate * (1.0 - gate) * SCALE * (1.0 + 3.0 * CUBIC * x * x)
}

/// Applies `f` to every pair of values of two tensors of one shape.
fn zip(a: FlexTensor, b: FlexTensor, f: impl Fn(f32, f32) -> f32 + Send + Sync) -> FlexTensor {
    let (shape, dtype) = (a.layout().shape().clone(), a.dtype());
    let (a, b) = (Values::new(a), Values::new(b));
    let (a, b) = (a.get(), b.get());
    let values = fill_rows(
        a.len(),
        1,
        #[inline(always)]
        |chunk, first| {
            let (a, b) = (&a[first..first + chunk.len()], &b[first..first + chunk.len()]);
            for ((value, &a), &b) in chunk.iter_mut().zip(a).zip(b) {
                *value = f(a, b);
            }
        },
    );
    output(values, shape, dtype)
}

pub(super) fn gelu(x: Float) -> Float {
    zip(
        x.clone(),
        x,
        #[inline(always)]
        |x, _| tanh_gelu(x),
    )
}

pub(super) fn gelu_backward(x: Float, grad: Float) -> Float {
    zip(
        x,
        grad,
        #[inline(always)]
        |x, grad| grad * slope(x, gelu_gate(x)),
    )
}

pub(super) fn gated_gelu(x: Float, up: Float) -> Float {
    zip(
        x,
        up,
        #[inline(always)]
        |x, up| tanh_gelu(x) * up,
    )
}

pub(super) fn gated_gelu_backward(x: Float, up: Float, grad: Float) -> [Float; 2] {
    let (shape, dtype) = (x.layout().shape().clone(), x.dtype());
    let (x, up, grad) = (Values::new(x), Values::new(up), Values::new(grad));
    let (x, up, grad) = (x.get(), up.get(), grad.get());
    let (gradients, _) = make_rows(
        x.len(),
        1,
        #[inline(always)]
        |[gate_grad, up_grad], first| {
            let range = first..first + gate_grad.len();
            let (x, up, grad) = (&x[range.clone()], &up[range.clone()], &grad[range]);
            let outputs = gate_grad.iter_mut().zip(up_grad);
            for ((gate_grad, up_grad), ((&x, &up), &grad)) in
                outputs.zip(x.iter().zip(up).zip(grad))
            {
                let gate = gelu_gate(x);
                *gate_grad = slope(x, gate) * up * grad;
                *up_grad = x * gate * grad;
            }
        },
    );
    gradients.map(|values| output(values, shape.clone(), dtype))
}
