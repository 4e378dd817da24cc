//! Loops over rows, in pieces for all threads, and sums that vectorise.
#![expect(unsafe_code, reason = "pieces of outputs are filled before they are anything")]

use std::array::from_fn;
use std::slice::from_raw_parts_mut;

use paligemma_packed::dense::Target;
use paligemma_packed::math::vectorised;
use rayon::prelude::*;

/// Values of a piece: they stay in the first caches, whose loops go over them more than once. The
/// number of threads has no part in it, so that sums over pieces do not depend on it.
pub(super) const PIECE: usize = 16 * 1024;

/// Makes `N` outputs of `len` values in pieces of whole rows of `width`, by all threads; `kernel`
/// gets the pieces, all zeros, and their first row. What it returns is returned in order.
pub(super) fn make_rows<const N: usize, R: Send>(
    len: usize,
    width: usize,
    kernel: impl Fn([&mut [f32]; N], usize) -> R + Send + Sync,
) -> ([Vec<f32>; N], Vec<R>) {
    let width = width.max(1);
    let rows = (PIECE / width).max(1);
    let piece = rows * width;
    let mut outputs: [Vec<f32>; N] = from_fn(|_| Vec::with_capacity(len));
    let starts = outputs.each_mut().map(|output| Target { start: output.as_mut_ptr(), row: 0 });
    let make = |index: usize| {
        let first = index * piece;
        let count = piece.min(len - first);
        // Zeroed here, where they are soon in a cache, and not before by one thread.
        // SAFETY: there is room for `len` values, and pieces are disjoint.
        let pieces = starts.map(|Target { start, .. }| unsafe {
            let start = start.add(first);
            start.write_bytes(0, count);
            from_raw_parts_mut(start, count)
        });
        vectorised(
            #[inline(always)]
            || kernel(pieces, index * rows),
        )
    };
    let results = (0..len.div_ceil(piece)).into_par_iter().map(make).collect();
    for output in &mut outputs {
        // SAFETY: the pieces cover it.
        unsafe { output.set_len(len) };
    }
    (outputs, results)
}

/// [`make_rows`] of one output.
pub(super) fn fill_rows(
    len: usize,
    width: usize,
    kernel: impl Fn(&mut [f32], usize) + Send + Sync,
) -> Vec<f32> {
    let ([output], _) = make_rows(
        len,
        width,
        #[inline(always)]
        |[piece], first| kernel(piece, first),
    );
    output
}

/// The sum of `a[i] * b[i]`, in sixteen running sums so that it vectorises.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    fold(a, b, |a, b| a * b)
}

/// The sum of the values.
#[inline(always)]
pub(super) fn sum(a: &[f32]) -> f32 {
    fold(a, a, |a, _| a)
}

/// The sum of the terms of all pairs.
#[inline(always)]
pub(super) fn fold(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
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
