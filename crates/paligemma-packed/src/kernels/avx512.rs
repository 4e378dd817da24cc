//! Kernels for 64-byte vectors with 8-bit dot products.
#![expect(unsafe_code, reason = "instructions of the machine")]
#![allow(clippy::wildcard_imports, reason = "the vendor's names, known by their beginning")]

use std::arch::x86_64::*;

use crate::layout::{GROUP, INT4_BLOCK, LANES, STEP};

/// Fetches lines of a panel that are read soon: `place` says where something so many bytes ahead is.
///
/// The distances were found by trying, on a machine with matrix tiles and on one without
/// (docs/benchmarks.md). Beyond a page no machine reads ahead by itself.
#[inline]
#[target_feature(enable = "avx512f")]
fn fetch<const TILES: bool>(bytes: *const u8, place: impl Fn(usize) -> usize) {
    // It touches no memory, whatever the address.
    if TILES {
        _mm_prefetch::<_MM_HINT_T0>(bytes.wrapping_add(place(768)).cast());
        _mm_prefetch::<_MM_HINT_T1>(bytes.wrapping_add(place(4 << 10)).cast());
    } else {
        _mm_prefetch::<_MM_HINT_T0>(bytes.wrapping_add(place(12 << 10)).cast());
    }
}

/// Whether kernels of integers fetch ahead for so many rows. What they compute for more than two keeps
/// any machine from reading ahead enough by itself. One or two were quicker so on the machine with tiles,
/// and slower on the one without.
const fn fetches(tiles: bool, rows: usize) -> bool {
    tiles || rows > 2
}

/// 64 bytes of a panel.
///
/// # Safety
/// They must be there.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load(bytes: *const u8, at: usize) -> __m512i {
    // SAFETY: the caller's; the load needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.add(at).cast()) }
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

/// Where slices begin. Their length is checked once here, so that the loops need not check each read.
#[inline(always)]
fn starts<'a, T: 'a, const N: usize>(
    slice: impl Fn(usize) -> &'a [T],
    length: usize,
) -> [*const T; N] {
    let mut starts = [std::ptr::null(); N];
    // A loop: a closure for an array would be called for each.
    for (at, start) in starts.iter_mut().enumerate() {
        let slice = slice(at);
        assert!(slice.len() == length, "rows and panels have different depths");
        *start = slice.as_ptr();
    }
    starts
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
pub(super) unsafe fn bf16<const N: usize, const TILES: bool>(
    x: &[&[f32]; N],
    panel: &[u8],
) -> [[f32; LANES]; N] {
    let upper = _mm512_set1_epi32(0xFFFF_0000_u32 as i32);
    let mut sums = [[_mm512_setzero_ps(); 2]; N];
    let pairs = panel.len() / 64;
    let x: [_; N] = starts(|row| x[row], 2 * pairs);
    for pair in 0..pairs {
        fetch::<TILES>(panel.as_ptr(), |ahead| 64 * pair + ahead);
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

/// One panel or two times `N` rows: what is broadcast of a row is multiplied with both.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) unsafe fn int8<const N: usize, const P: usize, const TILES: bool>(
    x: &[(&[i8], i32); N],
    panels: [&[u8]; P],
) -> [[[i32; LANES]; N]; P] {
    // One side of a dot product is unsigned: weights are raised by 128, which the sums make good.
    let raise = _mm512_set1_epi8(i8::MIN);
    let lines = panels[0].len() / 64;
    let panels: [_; P] = starts(|panel| panels[panel], 64 * lines);
    // Beyond the end of the first of two panels lies the other: what comes next is behind that.
    let skipped = panels[P - 1].addr().wrapping_sub(panels[0].addr());
    let starts: [_; N] = starts(|row| x[row].0, 4 * lines);
    // Of one panel, two sums of each row in turns, which need not wait for each other.
    let mut sums = [[[_mm512_setzero_si512(); N]; P]; 2];
    for step in 0..lines / 2 {
        for part in 0..2 {
            let (line, sums) = (2 * step + part, &mut sums[part % (2 / P)]);
            let place = |ahead: usize| {
                let at = 64 * line + ahead;
                if at < 64 * lines { at } else { at.wrapping_add(skipped) }
            };
            let mut weights = [raise; P];
            for (weights, panel) in weights.iter_mut().zip(panels) {
                if fetches(TILES, N) {
                    fetch::<TILES>(panel, place);
                }
                // SAFETY: there are `lines` lines, and each row has four bytes for each.
                *weights = _mm512_xor_si512(unsafe { load(panel, 64 * line) }, raise);
            }
            for row in 0..N {
                // SAFETY: see above.
                let x = unsafe { broadcast(starts[row], 4 * line) };
                for panel in 0..P {
                    sums[panel][row] = _mm512_dpbusd_epi32(sums[panel][row], weights[panel], x);
                }
            }
        }
    }
    let mut out = [[[0; LANES]; N]; P];
    for (panel, out) in out.iter_mut().enumerate() {
        for (row, out) in out.iter_mut().enumerate() {
            let total = _mm512_add_epi32(sums[0][panel][row], sums[1][panel][row]);
            let total = _mm512_sub_epi32(total, _mm512_set1_epi32(128 * x[row].1));
            // SAFETY: sixteen numbers fill the vector, and the store needs no alignment.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), total) };
        }
    }
    out
}

#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) unsafe fn int4<const N: usize, const TILES: bool>(
    x: &[(&[i8], &[i32]); N],
    panel: &[u8],
) -> [[f32; LANES]; N] {
    let low = _mm512_set1_epi8(15);
    let mut totals = [_mm512_setzero_ps(); N];
    let inputs = panel.len() / INT4_BLOCK * STEP;
    let middles: [_; N] = starts(|row| x[row].1, inputs / GROUP);
    let x: [_; N] = starts(|row| x[row].0, inputs);
    for (at, block) in panel.chunks_exact(INT4_BLOCK).enumerate() {
        // SAFETY: the scales end the block.
        let scales = unsafe { load(block.as_ptr(), STEP * LANES / 2) };
        let scales = [_mm512_castsi512_si256(scales), _mm512_extracti64x4_epi64::<1>(scales)];
        for (group, scales) in scales.into_iter().enumerate() {
            let first = at * STEP + group * GROUP;
            let scales = _mm512_cvtph_ps(scales);
            let mut sums = [_mm512_setzero_si512(); N];
            for step in 0..GROUP / 8 {
                let line = 64 * (group * GROUP / 8 + step);
                if fetches(TILES, N) {
                    fetch::<TILES>(block.as_ptr(), |ahead| line + ahead);
                }
                // SAFETY: a block has eight lines of weights, a row 64 bytes for each block.
                let bytes = unsafe { load(block.as_ptr(), line) };
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
