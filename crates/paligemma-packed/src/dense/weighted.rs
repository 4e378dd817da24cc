//! Products of few rows with a matrix that lies by rows, as the values of attention do for its
//! weights: it is read once, where it lies.

use std::ops::Range;

use pulp::{MemMask, Simd, WithSimd};

use super::{Matrix, Target, fetch};

/// Rows of the matrix that are gone through in all their columns while as many after them are fetched.
const BLOCK: usize = 16;

/// Whether `a b` is such a product, if it is of few rows.
pub(super) fn suits(a: Matrix<'_>, b: Matrix<'_>) -> bool {
    a.column == 1 && b.column == 1
}

/// A product that one thread computes, of which the caller promises what [`super::multiply`] asks for.
pub(super) struct Work<'a> {
    pub(super) size: [usize; 3],
    pub(super) a: Matrix<'a>,
    pub(super) b: Matrix<'a>,
    pub(super) target: Target,
    pub(super) add: bool,
}

impl WithSimd for Work<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let [_, k, n] = self.size;
        for first in (0..k).step_by(BLOCK) {
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
        // Two sums of each row, and what they are made of, must fit the registers.
        let most = if S::REGISTER_COUNT >= 32 { 8 } else { 4 };
        let whole = self.size[2] - column >= 2 * S::F32_LANES;
        let mut row = 0;
        while row < self.size[0] {
            row += match most.min(self.size[0] - row) {
                8 if whole => self.tile::<S, 8, true>(simd, block.clone(), row, column),
                4.. if whole => self.tile::<S, 4, true>(simd, block.clone(), row, column),
                2.. if whole => self.tile::<S, 2, true>(simd, block.clone(), row, column),
                _ if whole => self.tile::<S, 1, true>(simd, block.clone(), row, column),
                _ => self.tile::<S, 1, false>(simd, block.clone(), row, column),
            };
        }
    }

    /// `R` rows of two vectors of columns, which are `WHOLE` or end before; says how many rows.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const WHOLE: bool>(
        &self,
        simd: S,
        block: Range<usize>,
        row: usize,
        column: usize,
    ) -> usize {
        let add = self.add || block.start > 0;
        let lanes = self.size[2] - column;
        let mask = |lanes: usize| simd.mask_between_m32s(0, lanes.min(S::F32_LANES) as u32);
        let masks = [mask(lanes), mask(lanes.saturating_sub(S::F32_LANES))];
        let mut weights: [&[f32]; R] = [&[]; R];
        for (r, weights) in weights.iter_mut().enumerate() {
            *weights = &self.a.values[(row + r) * self.a.row..][block.clone()];
        }
        let mut sums = [[simd.splat_f32s(0.0); 2]; R];
        for (at, index) in block.enumerate() {
            let place = column + index * self.b.row;
            let ahead = place.wrapping_add(self.b.row.wrapping_mul(BLOCK));
            fetch(self.b.values, ahead);
            fetch(self.b.values, ahead.wrapping_add(S::F32_LANES));
            let values = self.b.values.as_ptr().wrapping_add(place);
            // SAFETY: `super::multiply` asserts that the matrix has this row; a mask leaves out what lies
            // beyond its last column.
            let values = unsafe { load::<S, WHOLE>(simd, masks, values) };
            for (sums, weights) in sums.iter_mut().zip(weights) {
                let weight = simd.splat_f32s(weights[at]);
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = simd.mul_add_e_f32s(weight, value, *sum);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let place = self.target.at(row + r, column).start;
            // SAFETY: the caller of `super::multiply` promises the target; masks as above.
            unsafe {
                let begin = if add {
                    load::<S, WHOLE>(simd, masks, place)
                } else {
                    [simd.splat_f32s(0.0); 2]
                };
                for (v, (sum, begin)) in sums.into_iter().zip(begin).enumerate() {
                    let (sum, place) =
                        (simd.add_f32s(begin, sum), place.wrapping_add(v * S::F32_LANES));
                    if WHOLE {
                        place.cast::<S::f32s>().write_unaligned(sum);
                    } else {
                        simd.mask_store_ptr_f32s(masks[v], place, sum);
                    }
                }
            }
        }
        R
    }
}

/// Two vectors that are `WHOLE`, or what masks leave of them.
///
/// # Safety
/// They must be there.
#[inline(always)]
unsafe fn load<S: Simd, const WHOLE: bool>(
    simd: S,
    masks: [MemMask<S::m32s>; 2],
    at: *const f32,
) -> [S::f32s; 2] {
    let next = at.wrapping_add(S::F32_LANES);
    // SAFETY: the caller's.
    unsafe {
        if WHOLE {
            [at.cast::<S::f32s>().read_unaligned(), next.cast::<S::f32s>().read_unaligned()]
        } else {
            [simd.mask_load_ptr_f32s(masks[0], at), simd.mask_load_ptr_f32s(masks[1], next)]
        }
    }
}
