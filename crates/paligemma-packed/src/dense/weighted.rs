//! Products of few rows with a matrix that lies by rows, as the values of attention do for its
//! weights: it is read once, where it lies.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::{Matrix, Target, fetch};

/// Rows from which it pays to pack the matrix.
const ROWS: usize = 16;
/// Rows of the matrix that stay in the first cache while all its columns are gone through.
const BLOCK: usize = 16;

/// Whether `a b` of `rows` rows is such a product.
pub(super) fn suits(rows: usize, a: Matrix<'_>, b: Matrix<'_>) -> bool {
    rows < ROWS && a.column == 1 && b.column == 1
}

/// `target (+)= a b` on the calling thread.
///
/// # Safety
/// As for [`super::multiply`].
pub(super) unsafe fn multiply(
    [m, k, n]: [usize; 3],
    a: Matrix<'_>,
    b: Matrix<'_>,
    target: Target,
    add: bool,
) {
    Arch::new().dispatch(Work { size: [m, k, n], a, b, target, add });
}

/// A product that one thread computes.
struct Work<'a> {
    size: [usize; 3],
    a: Matrix<'a>,
    b: Matrix<'a>,
    target: Target,
    add: bool,
}

impl WithSimd for Work<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let [_, k, n] = self.size;
        for first in (0..k.max(1)).step_by(BLOCK) {
            let block = first..k.min(first + BLOCK);
            for column in (0..n).step_by(2 * S::F32_LANES) {
                self.all_rows(simd, block.clone(), column);
            }
        }
    }
}

impl Work<'_> {
    /// Adds up a block in two vectors of columns, or what there is of them.
    #[inline(always)]
    fn all_rows<S: Simd>(&self, simd: S, block: Range<usize>, column: usize) {
        // Sums of eight rows, and what they are made of, fill 32 registers.
        let most = if S::REGISTER_COUNT >= 32 { 8 } else { 4 };
        let whole = self.size[2] - column >= 2 * S::F32_LANES;
        let mut row = 0;
        while row < self.size[0] {
            row += match most.min(self.size[0] - row) {
                8 if whole => self.tile::<S, 8, true>(simd, block.clone(), row, column),
                4.. if whole => self.tile::<S, 4, true>(simd, block.clone(), row, column),
                _ if whole => self.tile::<S, 1, true>(simd, block.clone(), row, column),
                _ => self.tile::<S, 1, false>(simd, block.clone(), row, column),
            };
        }
    }

    /// `R` rows of two vectors, which are `WHOLE` or may end; says how many rows.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const WHOLE: bool>(
        &self,
        simd: S,
        block: Range<usize>,
        row: usize,
        column: usize,
    ) -> usize {
        let columns = self.size[2].min(column + 2 * S::F32_LANES) - column;
        let load = |values: &[f32]| -> [S::f32s; 2] {
            if WHOLE {
                let (vectors, _) = S::as_simd_f32s(values);
                [vectors[0], vectors[1]]
            } else {
                let (left, right) = values.split_at(columns.min(S::F32_LANES));
                [simd.partial_load_f32s(left), simd.partial_load_f32s(right)]
            }
        };
        let mut weights: [&[f32]; R] = [&[]; R];
        for (r, weights) in weights.iter_mut().enumerate() {
            *weights = &self.a.values[(row + r) * self.a.row..][block.clone()];
        }
        let mut sums = [[simd.splat_f32s(0.0); 2]; R];
        if self.add || block.start > 0 {
            for (r, sums) in sums.iter_mut().enumerate() {
                *sums = load(self.out(row + r, column, columns));
            }
        }
        let values = &self.b.values[column..];
        for (at, index) in block.enumerate() {
            fetch(values, (index + BLOCK) * self.b.row);
            fetch(values, (index + BLOCK) * self.b.row + S::F32_LANES);
            let value = load(&values[index * self.b.row..][..columns]);
            for (sums, weights) in sums.iter_mut().zip(weights) {
                let weight = simd.splat_f32s(weights[at]);
                for (sum, value) in sums.iter_mut().zip(value) {
                    *sum = simd.mul_add_e_f32s(weight, value, *sum);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let out = self.out(row + r, column, columns);
            let (left, right) = out.split_at_mut(columns.min(S::F32_LANES));
            simd.partial_store_f32s(left, sums[0]);
            simd.partial_store_f32s(right, sums[1]);
        }
        R
    }

    /// Some columns of a row of the target.
    #[inline(always)]
    #[expect(
        clippy::mut_from_ref,
        reason = "a target is a pointer, as `multiply` promises ours alone"
    )]
    fn out(&self, row: usize, column: usize, columns: usize) -> &mut [f32] {
        // SAFETY: the caller's of `multiply`; one row is looked at at a time.
        unsafe { std::slice::from_raw_parts_mut(self.target.at(row, column).start, columns) }
    }
}
