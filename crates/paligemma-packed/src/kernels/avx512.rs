//! Kernels for 64-byte vectors with 8-bit dot products.
#![expect(unsafe_code, reason = "instructions of the machine")]
#![allow(clippy::wildcard_imports, reason = "the vendor's names, known by their beginning")]

use std::arch::x86_64::*;

use crate::layout::{GROUP, INT4_BLOCK, LANES, STEP};

/// Bytes ahead of the reads that are fetched into the first cache, and into the second: beyond a
/// page the machine does not by itself.
const NEAR: usize = 768;
const FAR: usize = 4096;

/// 64 bytes of a panel.
///
/// # Safety
/// They must be there.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load(bytes: *const u8, at: usize) -> __m512i {
    // SAFETY: the caller's; the load needs no alignment, and fetching ahead touches no memory,
    // whatever the address.
    unsafe {
        let line = bytes.add(at);
        _mm_prefetch::<_MM_HINT_T0>(line.wrapping_add(NEAR).cast());
        _mm_prefetch::<_MM_HINT_T1>(line.wrapping_add(FAR).cast());
        _mm512_loadu_si512(line.cast())
    }
}

/// Four neighbouring bytes of activations in every lane.
///
/// # Safety
/// They must be there.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn broadcast(x: *const i8, at: usize) -> __m512i {
    // SAFETY: the caller's.
    _mm512_set1_epi32(unsafe { x.add(at).cast::<i32>().read_unaligned() })
}

/// Where rows begin. Their length is checked once here, so that the loops need not check each read.
fn starts<T, const N: usize>(x: [&[T]; N], inputs: usize) -> [*const T; N] {
    assert!(x.iter().all(|x| x.len() == inputs), "rows and panel have different depths");
    x.map(<[T]>::as_ptr)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn floats(vector: __m512) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    // SAFETY: sixteen numbers fill the vector, and the store needs no alignment.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), vector) };
    out
}

#[target_feature(enable = "avx512f")]
pub(super) unsafe fn bf16<const N: usize>(x: [&[f32]; N], panel: &[u8]) -> [[f32; LANES]; N] {
    let upper = _mm512_set1_epi32(0xFFFF_0000_u32 as i32);
    let mut sums = [[_mm512_setzero_ps(); 2]; N];
    let pairs = panel.len() / 64;
    let x = starts(x, 2 * pairs);
    for pair in 0..pairs {
        // SAFETY: the panel has `pairs` lines.
        let words = unsafe { load(panel.as_ptr(), 64 * pair) };
        let even = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words));
        let odd = _mm512_castsi512_ps(_mm512_and_si512(words, upper));
        for row in 0..N {
            // SAFETY: a row has two numbers for each line.
            let (a, b) = unsafe { (*x[row].add(2 * pair), *x[row].add(2 * pair + 1)) };
            sums[row][0] = _mm512_fmadd_ps(even, _mm512_set1_ps(a), sums[row][0]);
            sums[row][1] = _mm512_fmadd_ps(odd, _mm512_set1_ps(b), sums[row][1]);
        }
    }
    sums.map(|[even, odd]| floats(_mm512_add_ps(even, odd)))
}

#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) unsafe fn int8<const N: usize>(
    x: [(&[i8], i32); N],
    weights: &[u8],
) -> [[i32; LANES]; N] {
    // One side of a dot product is unsigned: weights are raised by 128, which the sums make good.
    let raise = _mm512_set1_epi8(i8::MIN);
    let mut sums = [[_mm512_setzero_si512(); 2]; N];
    let lines = weights.len() / 64;
    let starts = starts(x.map(|(x, _)| x), 4 * lines);
    for step in 0..lines / 2 {
        // SAFETY: there are `lines` lines, and each row has four bytes for each.
        let (even, odd) = unsafe {
            let line = weights.as_ptr();
            (load(line, 128 * step), load(line, 128 * step + 64))
        };
        let (even, odd) = (_mm512_xor_si512(even, raise), _mm512_xor_si512(odd, raise));
        for row in 0..N {
            // SAFETY: see above.
            let (a, b) =
                unsafe { (broadcast(starts[row], 8 * step), broadcast(starts[row], 8 * step + 4)) };
            sums[row][0] = _mm512_dpbusd_epi32(sums[row][0], even, a);
            sums[row][1] = _mm512_dpbusd_epi32(sums[row][1], odd, b);
        }
    }
    let mut out = [[0; LANES]; N];
    for ((out, [a, b]), (_, sum)) in out.iter_mut().zip(sums).zip(x) {
        let total = _mm512_sub_epi32(_mm512_add_epi32(a, b), _mm512_set1_epi32(128 * sum));
        // SAFETY: sixteen numbers fill the vector, and the store needs no alignment.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), total) };
    }
    out
}

#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) unsafe fn int4<const N: usize>(
    x: [(&[i8], &[i32]); N],
    panel: &[u8],
) -> [[f32; LANES]; N] {
    let low = _mm512_set1_epi8(15);
    let mut totals = [_mm512_setzero_ps(); N];
    let inputs = panel.len() / INT4_BLOCK * STEP;
    let middles = starts(x.map(|(_, sums)| sums), inputs / GROUP);
    let x = starts(x.map(|(x, _)| x), inputs);
    for (at, block) in panel.chunks_exact(INT4_BLOCK).enumerate() {
        // SAFETY: the scales end the block.
        let scales = unsafe { load(block.as_ptr(), STEP * LANES / 2) };
        let scales = [_mm512_castsi512_si256(scales), _mm512_extracti64x4_epi64::<1>(scales)];
        for (group, scales) in scales.into_iter().enumerate() {
            let first = at * STEP + group * GROUP;
            let scales = _mm512_cvtph_ps(scales);
            let mut sums = [_mm512_setzero_si512(); N];
            for step in 0..GROUP / 8 {
                // SAFETY: a block has eight lines of weights, a row 64 bytes for each block.
                let bytes = unsafe { load(block.as_ptr(), 64 * (group * GROUP / 8 + step)) };
                let levels = [
                    _mm512_and_si512(bytes, low),
                    _mm512_and_si512(_mm512_srli_epi32::<4>(bytes), low),
                ];
                for row in 0..N {
                    for (part, levels) in levels.into_iter().enumerate() {
                        // SAFETY: see above.
                        let x = unsafe { broadcast(x[row], first + 8 * step + 4 * part) };
                        sums[row] = _mm512_dpbusd_epi32(sums[row], levels, x);
                    }
                }
            }
            for row in 0..N {
                // SAFETY: a row has a sum for each group.
                let middle = unsafe { *middles[row].add(first / GROUP) };
                let levels = _mm512_sub_epi32(sums[row], _mm512_set1_epi32(8 * middle));
                totals[row] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(levels), scales, totals[row]);
            }
        }
    }
    totals.map(|total| floats(total))
}
