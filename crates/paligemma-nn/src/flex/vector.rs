//! Loops over rows, in pieces for all threads, and sums that vectorise.

use paligemma_packed::math::vectorised;
use rayon::prelude::*;

/// Values below which a loop stays on the calling thread.
const THREAD_GRAIN: usize = 16 * 1024;

/// How many rows of `width` values make a worthwhile piece of work.
pub(super) fn rows_per_piece(rows: usize, width: usize) -> usize {
    let threads = rayon::current_num_threads();
    rows.div_ceil(4 * threads).max(THREAD_GRAIN.div_ceil(width.max(1))).max(1)
}

/// Fills `output` in pieces of whole rows; `kernel` gets the piece and its first row.
pub(super) fn fill_rows(
    output: &mut [f32],
    width: usize,
    kernel: impl Fn(&mut [f32], usize) + Send + Sync,
) {
    let width = width.max(1);
    let rows = rows_per_piece(output.len() / width, width);
    let pieces = output.par_chunks_mut(rows * width).enumerate();
    pieces.for_each(|(piece, chunk)| {
        vectorised(
            #[inline(always)]
            || kernel(chunk, piece * rows),
        );
    });
}

/// The sum of `a[i] * b[i]`, in eight running sums so that it vectorises.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    fold(a, b, |a, b| a * b)
}

/// The sum of the values.
#[inline(always)]
pub(super) fn sum(a: &[f32]) -> f32 {
    fold(a, a, |a, _| a)
}

#[inline(always)]
fn fold(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0_f32; LANES];
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            sums[lane] += term(a[lane], b[lane]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(&a, &b)| term(a, b)).sum();
    sums.iter().sum::<f32>() + rest
}
