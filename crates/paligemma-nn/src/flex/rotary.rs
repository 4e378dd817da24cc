//! Half-split rotary positions in one pass.

use super::vector::fill_rows;
use super::{Float, Values, output};

pub(super) fn rotate(x: Float, cos: Float, sin: Float) -> Float {
    let (shape, dtype) = (x.layout().shape().clone(), x.dtype());
    let (heads, width) = (shape[2], shape[3]);
    let (x, cos, sin) = (Values::new(x), Values::new(cos), Values::new(sin));
    let (x, cos, sin) = (x.get(), cos.get(), sin.get());
    let (half, token) = (width / 2, heads * width);
    let values = fill_rows(
        x.len(),
        token,
        #[inline(always)]
        |chunk, first| {
            for (i, output) in chunk.chunks_exact_mut(token).enumerate() {
                let row = first + i;
                let (cos, sin) = (&cos[row * half..][..half], &sin[row * half..][..half]);
                let heads = x[row * token..][..token].chunks_exact(width);
                for (output, head) in output.chunks_exact_mut(width).zip(heads) {
                    rotate_head(output, head, cos, sin);
                }
            }
        },
    );
    output(values, shape, dtype)
}

#[inline(always)]
fn rotate_head(output: &mut [f32], head: &[f32], cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    let (first, second) = head.split_at(half);
    let (out_first, out_second) = output.split_at_mut(half);
    for i in 0..half {
        out_first[i] = first[i] * cos[i] - second[i] * sin[i];
        out_second[i] = second[i] * cos[i] + first[i] * sin[i];
    }
}
