//! Root-mean-square norm and layer norm in one pass per row, forward and backward.

use burn_flex::FlexTensor;

use super::vector::{dot, fill_rows, fold, make_rows, sum};
use super::{Float, Values, output};

/// Mean (0 for the root-mean-square norm) and inverse deviation of a row.
#[derive(Clone, Copy)]
struct Moments {
    mean: f32,
    inverse: f32,
}

#[inline(always)]
fn rms(row: &[f32], epsilon: f32) -> Moments {
    Moments { mean: 0.0, inverse: (dot(row, row) / row.len() as f32 + epsilon).sqrt().recip() }
}

#[inline(always)]
fn centred(row: &[f32], epsilon: f32) -> Moments {
    let width = row.len() as f32;
    let mean = sum(row) / width;
    let variance = fold(
        row,
        row,
        #[inline(always)]
        |x, _| (x - mean) * (x - mean),
    );
    Moments { mean, inverse: (variance / width + epsilon).sqrt().recip() }
}

/// `(x - mean) * inverse * scale + shift` per row.
fn normalise(
    x: FlexTensor,
    scale: &[f32],
    shift: &[f32],
    moments: impl Fn(&[f32]) -> Moments + Send + Sync,
) -> FlexTensor {
    let (shape, dtype) = (x.layout().shape().clone(), x.dtype());
    let x = Values::new(x);
    let (x, width) = (x.get(), scale.len());
    let values = fill_rows(
        x.len(),
        width,
        #[inline(always)]
        |chunk, first| {
            let rows = x[first * width..].chunks_exact(width);
            for (output, row) in chunk.chunks_exact_mut(width).zip(rows) {
                let Moments { mean, inverse } = moments(row);
                let affine = scale.iter().zip(shift);
                for ((output, &x), (&scale, &shift)) in output.iter_mut().zip(row).zip(affine) {
                    *output = (x - mean) * inverse * scale + shift;
                }
            }
        },
    );
    output(values, shape, dtype)
}

/// Gradients of one piece of rows: of `x` in place, of scale and shift summed.
struct Piece {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

/// Gradients of [`normalise`] for `x`, scale and shift. `recentre` also takes out the mean of the
/// gradient, as the layer norm does.
fn normalise_backward(
    x: &[f32],
    scale: &[f32],
    grad: &[f32],
    recentre: bool,
    moments: impl Fn(&[f32]) -> Moments + Send + Sync,
) -> (Vec<f32>, Piece) {
    let width = scale.len();
    let zero = || Piece { scale: vec![0.0; width], shift: vec![0.0; width] };
    let ([x_grad], pieces) = make_rows(
        x.len(),
        width,
        #[inline(always)]
        |[x_grad], first| {
            let mut sums = zero();
            let rows = x[first * width..].chunks_exact(width);
            let rows = rows.zip(grad[first * width..].chunks_exact(width));
            for (x_grad, (x, grad)) in x_grad.chunks_exact_mut(width).zip(rows) {
                row_backward(x_grad, (x, scale, grad), recentre, moments(x), &mut sums);
            }
            sums
        },
    );
    // Pieces are added in order, so the result does not depend on the threads' timing.
    let mut total = zero();
    for piece in pieces {
        total.scale.iter_mut().zip(&piece.scale).for_each(|(a, b)| *a += b);
        total.shift.iter_mut().zip(&piece.shift).for_each(|(a, b)| *a += b);
    }
    (x_grad, total)
}

#[inline(always)]
fn row_backward(
    x_grad: &mut [f32],
    (x, scale, grad): (&[f32], &[f32], &[f32]),
    recentre: bool,
    Moments { mean, inverse }: Moments,
    sums: &mut Piece,
) {
    let width = x.len() as f32;
    let sums = sums.scale.iter_mut().zip(&mut sums.shift);
    let operands = x.iter().zip(grad).zip(scale);
    for ((x_grad, (scale_sum, shift_sum)), ((&x, &grad), &scale)) in
        x_grad.iter_mut().zip(sums).zip(operands)
    {
        *scale_sum += grad * (x - mean) * inverse;
        *shift_sum += grad;
        *x_grad = grad * scale;
    }
    let average = if recentre { sum(x_grad) / width } else { 0.0 };
    let along = (dot(x_grad, x) - mean * sum(x_grad)) * inverse / width;
    for (x_grad, &x) in x_grad.iter_mut().zip(x) {
        *x_grad = (*x_grad - average - (x - mean) * inverse * along) * inverse;
    }
}

fn one_plus(weight: FlexTensor) -> Vec<f32> {
    Values::new(weight).get().iter().map(|w| 1.0 + w).collect()
}

pub(super) fn rms_norm(x: Float, weight: Float, epsilon: f32) -> Float {
    let scale = one_plus(weight);
    let shift = vec![0.0; scale.len()];
    normalise(
        x,
        &scale,
        &shift,
        #[inline(always)]
        |row| rms(row, epsilon),
    )
}

pub(super) fn rms_norm_backward(x: Float, weight: Float, epsilon: f32, grad: Float) -> [Float; 2] {
    let (shape, dtype) = (x.layout().shape().clone(), x.dtype());
    let weight_shape = weight.layout().shape().clone();
    let (x, grad, scale) = (Values::new(x), Values::new(grad), one_plus(weight));
    let (x_grad, sums) = normalise_backward(
        x.get(),
        &scale,
        grad.get(),
        false,
        #[inline(always)]
        |row| rms(row, epsilon),
    );
    [output(x_grad, shape, dtype), output(sums.scale, weight_shape, dtype)]
}

pub(super) fn layer_norm(x: Float, weight: Float, bias: Float, epsilon: f32) -> Float {
    let (weight, bias) = (Values::new(weight), Values::new(bias));
    normalise(
        x,
        weight.get(),
        bias.get(),
        #[inline(always)]
        |row| centred(row, epsilon),
    )
}

pub(super) fn layer_norm_backward(
    x: Float,
    weight: Float,
    epsilon: f32,
    grad: Float,
) -> [Float; 3] {
    let (shape, dtype) = (x.layout().shape().clone(), x.dtype());
    let width = weight.layout().shape().clone();
    let (x, grad, weight) = (Values::new(x), Values::new(grad), Values::new(weight));
    let (x_grad, sums) = normalise_backward(
        x.get(),
        weight.get(),
        grad.get(),
        true,
        #[inline(always)]
        |row| centred(row, epsilon),
    );
    [
        output(x_grad, shape, dtype),
        output(sums.scale, width.clone(), dtype),
        output(sums.shift, width, dtype),
    ]
}
