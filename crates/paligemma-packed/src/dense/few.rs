//! Products of few rows with a matrix that lies by columns, as a weight `[out, in]` does for them:
//! it is read once, where it lies.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{Matrix, Target, fetch};
use crate::threads::piece;

/// Rows from which it pays to pack the matrix.
const ROWS: usize = 32;
/// Columns that are read side by side.
const SIDE: usize = 2;
/// Values ahead of the reads that are fetched.
const AHEAD: usize = 512;
/// Columns ahead, where columns are short: eight keys of 256 channels are 8 KiB.
const COLUMNS: usize = 8;

/// Whether `a b` of `rows` rows is such a product.
pub(super) fn suits(rows: usize, a: Matrix<'_>, b: Matrix<'_>) -> bool {
    rows < ROWS && a.column == 1 && b.row == 1
}

/// `a b + bias` on all threads, with the shapes of [`super::product`]. Every value is summed alike,
/// however many rows there are.
pub(super) fn product(
    [m, k, n]: [usize; 3],
    a: Matrix<'_>,
    b: Matrix<'_>,
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let mut values = Vec::with_capacity(m.saturating_mul(n));
    let target = Target { start: values.as_mut_ptr(), row: n };
    let width = piece(n, m * k).next_multiple_of(SIDE);
    (0..n.div_ceil(width)).into_par_iter().for_each(|task| {
        let columns = task * width..n.min((task + 1) * width);
        Arch::new().dispatch(Part { size: [m, k], a, b, bias, columns, target });
    });
    // SAFETY: the tasks wrote every column.
    unsafe { values.set_len(m * n) };
    values
}

/// `target = a b` on the calling thread.
///
/// # Safety
/// As for [`super::multiply`].
pub(super) unsafe fn multiply([m, k, n]: [usize; 3], a: Matrix<'_>, b: Matrix<'_>, target: Target) {
    Arch::new().dispatch(Part { size: [m, k], a, b, bias: None, columns: 0..n, target });
}

/// Some columns of a product.
struct Part<'a> {
    size: [usize; 2],
    a: Matrix<'a>,
    b: Matrix<'a>,
    bias: Option<&'a [f32]>,
    columns: Range<usize>,
    target: Target,
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for column in self.columns.clone().step_by(SIDE) {
            if self.columns.end - column < SIDE {
                self.all_rows::<S, 1>(simd, column);
            } else {
                self.all_rows::<S, SIDE>(simd, column);
            }
        }
    }
}

impl Part<'_> {
    /// `C` columns.
    #[inline(always)]
    fn all_rows<S: Simd, const C: usize>(&self, simd: S, column: usize) {
        // Sums of eight rows, and what they are made of, fill 32 registers.
        let most = if S::REGISTER_COUNT >= 32 { 8 } else { 4 };
        let mut row = 0;
        while row < self.size[0] {
            row += match most.min(self.size[0] - row) {
                8 => self.tile::<S, 8, C>(simd, row, column),
                4.. => self.tile::<S, 4, C>(simd, row, column),
                2.. => self.tile::<S, 2, C>(simd, row, column),
                _ => self.tile::<S, 1, C>(simd, row, column),
            };
        }
    }

    /// `R` rows of `C` columns; says how many rows.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const C: usize>(
        &self,
        simd: S,
        row: usize,
        column: usize,
    ) -> usize {
        let depth = self.size[1];
        let mut x: [&[f32]; R] = [&[]; R];
        for (r, x) in x.iter_mut().enumerate() {
            *x = &self.a.values[(row + r) * self.a.row..][..depth];
        }
        let mut w: [&[f32]; C] = [&[]; C];
        for (c, w) in w.iter_mut().enumerate() {
            *w = &self.b.values[(column + c) * self.b.column..][..depth];
        }
        let ahead = if depth < AHEAD { self.b.column.wrapping_mul(COLUMNS) } else { AHEAD };
        let sums = sums(simd, [depth, ahead], x, w);
        for (r, sums) in sums.into_iter().enumerate() {
            for (c, sum) in sums.into_iter().enumerate() {
                let begin = self.bias.map_or(0.0, |bias| bias[column + c]);
                // SAFETY: the row is one of the target's, and the column one of this part's.
                unsafe { self.target.at(row + r, column + c).start.write(begin + sum) };
            }
        }
        R
    }
}

/// The sums of products of each pair, while values so far ahead are fetched.
#[inline(always)]
fn sums<S: Simd, const R: usize, const C: usize>(
    simd: S,
    [depth, ahead]: [usize; 2],
    x: [&[f32]; R],
    w: [&[f32]; C],
) -> [[f32; C]; R] {
    assert!(x.iter().chain(&w).all(|values| values.len() == depth), "different depths");
    let whole = depth - depth % S::F32_LANES;
    let mut totals = [[simd.splat_f32s(0.0); C]; R];
    for at in (0..whole).step_by(S::F32_LANES) {
        let mut columns = [simd.splat_f32s(0.0); C];
        for (column, w) in columns.iter_mut().zip(w) {
            fetch(w, ahead.wrapping_add(at));
            // SAFETY: there are `whole` values.
            *column = unsafe { load::<S>(w, at) };
        }
        for (totals, x) in totals.iter_mut().zip(x) {
            // SAFETY: as above.
            let x = unsafe { load::<S>(x, at) };
            for (total, column) in totals.iter_mut().zip(columns) {
                *total = simd.mul_add_e_f32s(x, column, *total);
            }
        }
    }
    let mut sums = [[0.0; C]; R];
    for ((sums, totals), x) in sums.iter_mut().zip(totals).zip(x) {
        let x = simd.partial_load_f32s(&x[whole..]);
        for ((sum, total), w) in sums.iter_mut().zip(totals).zip(w) {
            let w = simd.partial_load_f32s(&w[whole..]);
            *sum = simd.reduce_sum_f32s(simd.mul_add_e_f32s(x, w, total));
        }
    }
    sums
}

/// A vector of values.
///
/// # Safety
/// They must be there.
#[inline(always)]
unsafe fn load<S: Simd>(values: &[f32], at: usize) -> S::f32s {
    // SAFETY: the caller's; the load needs no alignment.
    unsafe { values.as_ptr().add(at).cast::<S::f32s>().read_unaligned() }
}
