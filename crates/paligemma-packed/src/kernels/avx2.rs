//! Kernels for 32-byte vectors.
#![expect(unsafe_code, reason = "instructions of the machine")]
#![allow(clippy::wildcard_imports, reason = "the vendor's names, known by their beginning")]

use std::arch::x86_64::*;

use super::plain;
use crate::layout::{GROUP, INT4_BLOCK, LANES, STEP};

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn bf16<const N: usize>(x: &[&[f32]; N], panel: &[u8]) -> [[f32; LANES]; N] {
    plain::bf16::<N, true>(x, panel)
}

/// Four neighbouring bytes of activations in every lane.
#[inline]
#[target_feature(enable = "avx2")]
fn broadcast(x: &[i8], at: usize) -> __m256i {
    let piece: [i8; 4] = std::array::from_fn(|k| x[at + k]);
    _mm256_set1_epi32(i32::from_le_bytes(piece.map(|value| value as u8)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8], at: usize) -> __m256i {
    let bytes = &bytes[at..at + 32];
    // SAFETY: the slice is as long as the vector, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// Adds groups of four products of unsigned and signed bytes to eight sums. Pairs of products
/// must fit 16 bits: true for 127 * 127 * 2.
#[inline]
#[target_feature(enable = "avx2")]
fn dot(sums: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(unsigned, signed);
    _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn lanes(halves: [__m256i; 2]) -> [i32; LANES] {
    let mut all = [0; LANES];
    for (half, out) in halves.into_iter().zip(all.chunks_exact_mut(8)) {
        // SAFETY: eight numbers fill the vector, and the store needs no alignment.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), half) };
    }
    all
}

#[target_feature(enable = "avx2")]
pub(super) unsafe fn int8<const N: usize, const P: usize>(
    x: &[(&[i8], i32); N],
    panels: [&[u8]; P],
) -> [[[i32; LANES]; N]; P] {
    panels.map(|weights| int8_panel(x, weights))
}

#[target_feature(enable = "avx2")]
fn int8_panel<const N: usize>(x: &[(&[i8], i32); N], weights: &[u8]) -> [[i32; LANES]; N] {
    let mut sums = [[_mm256_setzero_si256(); 2]; N];
    for step in 0..weights.len() / 64 {
        let halves = [load(weights, 64 * step), load(weights, 64 * step + 32)];
        for (sums, (x, _)) in sums.iter_mut().zip(x) {
            let x = broadcast(x, 4 * step);
            for (sum, weights) in sums.iter_mut().zip(halves) {
                // The sign of x moves to the weights, since one side must be unsigned.
                *sum = dot(*sum, _mm256_abs_epi8(x), _mm256_sign_epi8(weights, x));
            }
        }
    }
    sums.map(|halves| lanes(halves))
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn int4<const N: usize>(
    x: &[(&[i8], &[i32]); N],
    panel: &[u8],
) -> [[f32; LANES]; N] {
    let low = _mm256_set1_epi8(15);
    let mut totals = [[0.0; LANES]; N];
    for (at, block) in panel.chunks_exact(INT4_BLOCK).enumerate() {
        for group in 0..STEP / GROUP {
            let first = at * STEP + group * GROUP;
            let mut sums = [[_mm256_setzero_si256(); 2]; N];
            for step in 0..GROUP / 8 {
                for half in 0..2 {
                    let bytes = load(block, 64 * (group * GROUP / 8 + step) + 32 * half);
                    let levels = [
                        _mm256_and_si256(bytes, low),
                        _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low),
                    ];
                    for (sums, (x, _)) in sums.iter_mut().zip(x) {
                        for (part, levels) in levels.into_iter().enumerate() {
                            let x = broadcast(x, first + 8 * step + 4 * part);
                            sums[half] = dot(sums[half], levels, x);
                        }
                    }
                }
            }
            let scales = &block[STEP * LANES / 2 + 2 * LANES * group..][..2 * LANES];
            for ((totals, sums), (_, middles)) in totals.iter_mut().zip(sums).zip(x) {
                let middle = 8 * middles[first / GROUP];
                let levels = lanes(sums);
                for half in 0..2 {
                    let scales = scale(&scales[16 * half..16 * half + 16]);
                    for (lane, scale) in scales.into_iter().enumerate() {
                        let at = 8 * half + lane;
                        totals[at] = ((levels[at] - middle) as f32).mul_add(scale, totals[at]);
                    }
                }
            }
        }
    }
    totals
}

/// Eight f16 scales as f32.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn scale(bytes: &[u8]) -> [f32; 8] {
    let mut out = [0.0; 8];
    let bytes = &bytes[..16];
    // SAFETY: sixteen bytes are eight f16, eight f32 fill the vector; neither needs alignment.
    unsafe {
        let halves = _mm_loadu_si128(bytes.as_ptr().cast());
        _mm256_storeu_ps(out.as_mut_ptr(), _mm256_cvtph_ps(halves));
    }
    out
}
