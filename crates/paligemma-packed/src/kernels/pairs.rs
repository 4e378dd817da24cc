//! Products with many rows in vectors that multiply pairs of bfloat16, where there are no tiles.
//!
//! Two panels are multiplied with eight rows at a time, whose sums fill half of the registers. Input
//! channels are cut so that the panels stay in the second cache while all rows pass.
#![expect(unsafe_code, reason = "instructions of the machine")]
#![allow(clippy::wildcard_imports, reason = "the vendor's names, known by their beginning")]

use std::arch::x86_64::*;
use std::array::from_fn;
use std::mem::transmute;

use rayon::prelude::*;

use super::tiles::round;
use crate::layout::{LANES, STEP};
use crate::math::vectorised;
use crate::product::{FEW, Product};

/// Pairs of input channels that are multiplied with what is in the cache.
const DEPTH: usize = 1024;

/// Sums of a row with two panels.
type Sums = [[f32; LANES]; 2];

/// Rows of pairs of bfloat16, a multiple of [`FEW`] of them; missing ones are zeros.
struct Pairs {
    words: Vec<u32>,
    /// Pairs of a row.
    depth: usize,
}

impl Pairs {
    fn new(x: &[f32], inputs: usize) -> Self {
        let depth = inputs.next_multiple_of(STEP) / 2;
        let rows = (x.len() / inputs).next_multiple_of(FEW);
        let mut words = vec![0; rows * depth];
        words.par_chunks_mut(depth).zip(x.par_chunks(inputs)).for_each(|(words, x)| {
            vectorised(
                #[inline(always)]
                || round(x, bytemuck::cast_slice_mut(words)),
            );
        });
        Self { words, depth }
    }

    /// Some pairs of [`FEW`] rows.
    fn rows(&self, first: usize, from: usize, to: usize) -> [&[u32]; FEW] {
        from_fn(|row| &self.words[(first + row) * self.depth..][from..to])
    }
}

/// `x W^T + b` for any number of rows.
pub(crate) fn linear(product: &Product<'_>, x: &[f32]) {
    let x = Pairs::new(x, product.layout.inputs);
    let begin = || vec![[[0.0; LANES]; 2]; product.rows.next_multiple_of(FEW)];
    product.each_pair_with(begin, |sums, [left, right]| {
        sums.fill([[0.0; LANES]; 2]);
        for from in (0..x.depth).step_by(DEPTH) {
            let to = (from + DEPTH).min(x.depth);
            let panels = [left, right].map(|panel| &product.panel(panel)[64 * from..64 * to]);
            for (chunk, sums) in sums.as_chunks_mut().0.iter_mut().enumerate() {
                // SAFETY: only machines with these vectors come here.
                unsafe { multiply(x.rows(chunk * FEW, from, to), panels, sums) };
            }
        }
        for (row, [one, other]) in sums.iter().take(product.rows).enumerate() {
            product.write(row, left, *one);
            product.write(row, right, *other);
        }
    });
}

/// The same bits, as pairs of bfloat16.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn of_pairs(vector: __m512i) -> __m512bh {
    // SAFETY: any 64 bytes are such a vector.
    unsafe { transmute::<__m512i, __m512bh>(vector) }
}

/// Adds what two panels make of eight rows to their sums.
#[target_feature(enable = "avx512f,avx512bf16")]
fn multiply(x: [&[u32]; FEW], panels: [&[u8]; 2], sums: &mut [Sums; FEW]) {
    let depth = x[0].len();
    assert!(x.iter().all(|x| x.len() == depth) && panels.iter().all(|p| p.len() == 64 * depth));
    let mut totals = [[_mm512_setzero_ps(); 2]; FEW];
    for pair in 0..depth {
        // SAFETY: a panel has a line and a row a word for each pair; loads need no alignment.
        unsafe {
            let line = |panel: &[u8]| _mm512_loadu_si512(panel.as_ptr().add(64 * pair).cast());
            let lines = [of_pairs(line(panels[0])), of_pairs(line(panels[1]))];
            for (total, x) in totals.iter_mut().zip(x) {
                let x = of_pairs(_mm512_set1_epi32(x.as_ptr().add(pair).cast::<i32>().read()));
                total[0] = _mm512_dpbf16_ps(total[0], x, lines[0]);
                total[1] = _mm512_dpbf16_ps(total[1], x, lines[1]);
            }
        }
    }
    for (sums, totals) in sums.as_flattened_mut().iter_mut().zip(totals.as_flattened()) {
        // SAFETY: sixteen numbers fill a vector; loads and stores need no alignment.
        unsafe {
            let total = _mm512_add_ps(_mm512_loadu_ps(sums.as_ptr()), *totals);
            _mm512_storeu_ps(sums.as_mut_ptr(), total);
        }
    }
}
