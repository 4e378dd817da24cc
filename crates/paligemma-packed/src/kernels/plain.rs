//! Kernels in plain Rust, which the compiler vectorises for whatever it compiles for. `FUSED`
//! says whether multiply-add is one instruction there: as a function call it would be slow.

use crate::layout::{GROUP, INT4_BLOCK, LANES, STEP};
use crate::pack::int4_scale;

#[inline(always)]
fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
pub(super) fn bf16<const N: usize, const FUSED: bool>(
    x: &[&[f32]; N],
    panel: &[u8],
) -> [[f32; LANES]; N] {
    let mut sums = [[0.0; LANES]; N];
    let (lines, _) = panel.as_chunks::<{ 4 * LANES }>();
    for (pair, line) in lines.iter().enumerate() {
        let (words, _) = line.as_chunks::<4>();
        let words: [u32; LANES] = std::array::from_fn(|lane| u32::from_le_bytes(words[lane]));
        for (sums, x) in sums.iter_mut().zip(x) {
            let (even, odd) = (x[2 * pair], x[2 * pair + 1]);
            for (sum, word) in sums.iter_mut().zip(words) {
                let low = f32::from_bits(word << 16);
                let high = f32::from_bits(word & 0xFFFF_0000);
                *sum = multiply_add::<FUSED>(low, even, *sum);
                *sum = multiply_add::<FUSED>(high, odd, *sum);
            }
        }
    }
    sums
}

#[inline(always)]
pub(super) fn int8<const N: usize, const P: usize, const FUSED: bool>(
    x: &[(&[i8], i32); N],
    panels: [&[u8]; P],
) -> [[[i32; LANES]; N]; P] {
    panels.map(|weights| int8_panel(x, weights))
}

#[inline(always)]
fn int8_panel<const N: usize>(x: &[(&[i8], i32); N], weights: &[u8]) -> [[i32; LANES]; N] {
    let mut sums = [[0; LANES]; N];
    let (lines, _) = weights.as_chunks::<{ 4 * LANES }>();
    for (step, line) in lines.iter().enumerate() {
        for (sums, (x, _)) in sums.iter_mut().zip(x) {
            let x: [i32; 4] = std::array::from_fn(|k| i32::from(x[4 * step + k]));
            for (lane, sum) in sums.iter_mut().enumerate() {
                for (k, x) in x.iter().enumerate() {
                    *sum += x * i32::from(line[4 * lane + k] as i8);
                }
            }
        }
    }
    sums
}

#[inline(always)]
pub(super) fn int4<const N: usize, const FUSED: bool>(
    x: &[(&[i8], &[i32]); N],
    panel: &[u8],
) -> [[f32; LANES]; N] {
    let mut totals = [[0.0; LANES]; N];
    for (at, block) in panel.chunks_exact(INT4_BLOCK).enumerate() {
        for group in 0..STEP / GROUP {
            let scales: [f32; LANES] = std::array::from_fn(|lane| int4_scale(block, group, lane));
            let weights = &block[group * GROUP * LANES / 2..][..GROUP * LANES / 2];
            let first = at * STEP + group * GROUP;
            for (totals, (x, sums)) in totals.iter_mut().zip(x) {
                let levels = int4_group(&x[first..first + GROUP], weights);
                let middle = 8 * sums[first / GROUP];
                for ((total, level), scale) in totals.iter_mut().zip(levels).zip(scales) {
                    *total = multiply_add::<FUSED>((level - middle) as f32, scale, *total);
                }
            }
        }
    }
    totals
}

/// Sums of activations times levels (0 to 15) over a group.
#[inline(always)]
fn int4_group(x: &[i8], weights: &[u8]) -> [i32; LANES] {
    let mut sums = [0; LANES];
    let (lines, _) = weights.as_chunks::<{ 4 * LANES }>();
    let (pieces, _) = x.as_chunks::<8>();
    for (line, x) in lines.iter().zip(pieces) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            for k in 0..4 {
                let byte = line[4 * lane + k];
                *sum += i32::from(x[k]) * i32::from(byte & 15);
                *sum += i32::from(x[4 + k]) * i32::from(byte >> 4);
            }
        }
    }
    sums
}
