//! Elementwise mathematics that compiles to vector code, and the loops over rows around it.

use pulp::Arch;
use rayon::prelude::*;

/// Values below which a loop stays on the calling thread.
const THREAD_GRAIN: usize = 16 * 1024;

/// Exponents below which a term counts as nothing beside 1: `e^-40` is a ten-billionth of the last
/// place of a sum. Left in, masked probabilities and closed gates would be subnormal numbers, or
/// soon make some, which cost a hundred times the time of others in every product they enter.
pub(super) const NEGLIGIBLE: f32 = -40.0;

/// `e^x` within 2 units in the last place over the range of f32; 0 below it.
///
/// Cody-Waite reduction to `|r| <= ln 2 / 2` and a polynomial of degree 6, free of branches.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.336_54, 88.376_26);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let p = 1.987_569_1e-4_f32;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let y = p * r * r + r + 1.0;
    // The lowest bits of `rounded` are those of the integer; the shift drops all others.
    y * f32::from_bits(rounded.to_bits().wrapping_add(127) << 23)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Runs `kernel` with the widest vector instructions of this machine, if it and all that it calls
/// are inlined: closures too must say so.
#[inline(always)]
pub(super) fn vectorised<R>(kernel: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(kernel)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_of_the_last_place() {
        for step in -870..880 {
            let x = step as f32 * 0.1;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.4e-7, "exp({x}) is off by {error:e}");
        }
        assert!((exp(0.0) - 1.0).abs() < f32::EPSILON);
        assert!(exp(f32::NEG_INFINITY) < 1.2e-38);
    }
}
