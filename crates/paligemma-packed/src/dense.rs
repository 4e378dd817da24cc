//! Products of f32 matrices where they lie, whatever their strides.
//!
//! A panel of the right matrix, a few vectors wide and as deep as the first cache holds, is packed
//! and met by all rows of the left one; a tile of the result stays in registers meanwhile. Every
//! value is summed in the order of the depth, so results do not depend on the number of threads.
//! Few rows are not worth the packing.
#![expect(unsafe_code, reason = "tiles are read and written by pointers, checked once per product")]

mod few;
#[cfg(test)]
mod tests;
mod weighted;

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Depth of a packed panel: with [`COLUMNS`], two thirds of a first cache of 48 KiB.
const DEPTH: usize = 128;
/// Columns of the result that one task makes, and the widest panel.
const COLUMNS: usize = 64;
/// Rows of the widest tile.
const TILE: usize = 6;
/// Values of a line of the caches.
const LINE: usize = 16;
/// Rows of the result that a task makes: many, since each task packs its own panels, unless there
/// are too few tasks.
const ROWS: [usize; 2] = [8 * TILE, 128 * TILE];
/// Rows from which it pays to pack a right matrix that lies by rows.
const FEW: usize = 16;
/// Tasks for each thread, so that one that is late has company.
const TASKS: usize = 4;

/// A matrix inside a slice.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// What it lies in, from its first value on.
    pub values: &'a [f32],
    /// Distance of a value from the one above.
    pub row: usize,
    /// Distance of a value from the one to the left.
    pub column: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `width` values, one after the other.
    pub fn rows(values: &'a [f32], width: usize) -> Self {
        Self { values, row: width, column: 1 }
    }

    /// The same values, columns for rows.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }

    fn holds(self, rows: usize, columns: usize) -> bool {
        let last = |count: usize, stride| (count - 1).checked_mul(stride);
        let reach = || last(rows, self.row)?.checked_add(last(columns, self.column)?);
        rows == 0 || columns == 0 || reach().is_some_and(|last| last < self.values.len())
    }

    /// The matrix without its first rows and columns.
    fn from(self, row: usize, column: usize) -> Self {
        let start = (row * self.row + column * self.column).min(self.values.len());
        Self { values: &self.values[start..], ..self }
    }
}

/// Where a result begins, and how far its rows are apart.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The first value.
    pub start: *mut f32,
    /// Distance of a value from the one above.
    pub row: usize,
}

// SAFETY: a target only says where; who writes through it promises that nobody else does.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

impl Target {
    fn at(self, row: usize, column: usize) -> Self {
        Self { start: self.start.wrapping_add(row * self.row + column), ..self }
    }
}

/// What a tile begins as.
#[derive(Clone, Copy, Debug)]
enum Begin<'a> {
    /// Nothing.
    Zero,
    /// A value for each column.
    Bias(&'a [f32]),
    /// What the target has.
    Target,
}

/// `a b + bias` on all threads, row by row.
///
/// # Shapes
/// `a` `[m, k]`, `b` `[k, n]`, `bias` `[n]` -> `[m, n]`
///
/// # Panics
/// If a matrix does not lie in its slice, or the bias has another length.
pub fn product(
    [m, k, n]: [usize; 3],
    a: Matrix<'_>,
    b: Matrix<'_>,
    bias: Option<&[f32]>,
) -> Vec<f32> {
    assert!(a.holds(m, k) && b.holds(k, n), "a matrix ends beyond its slice");
    assert!(bias.is_none_or(|bias| bias.len() == n), "the bias has another width");
    if few::suits(m, a, b) {
        return few::product([m, k, n], a, b, bias);
    }
    let mut values = Vec::with_capacity(m.saturating_mul(n));
    let target = Target { start: values.as_mut_ptr(), row: n };
    let panels = n.div_ceil(COLUMNS);
    let rows = block(m, panels, if a.row < a.column { 1 } else { TASKS });
    (0..m.div_ceil(rows) * panels).into_par_iter().for_each(|task| {
        let (row, column) = (task / panels * rows, task % panels * COLUMNS);
        let (m, n) = (rows.min(m - row), COLUMNS.min(n - column));
        let begin = bias.map_or(Begin::Zero, |bias| Begin::Bias(&bias[column..column + n]));
        let part = Part { a: a.from(row, 0), b: b.from(0, column), begin };
        // SAFETY: the parts of the target are disjoint, and the vector has room for all.
        unsafe { part.write([m, k, n], target.at(row, column)) };
    });
    // SAFETY: the tasks wrote all of it.
    unsafe { values.set_len(m * n) };
    values
}

/// `target = a b`, or `target += a b`, on the calling thread, `[m, k] x [k, n]`.
///
/// # Safety
/// The target has `m` rows of `n` values, which nobody else reads or writes meanwhile; those that
/// are added to have been written before.
///
/// # Panics
/// If a matrix does not lie in its slice.
pub unsafe fn multiply(
    [m, k, n]: [usize; 3],
    a: Matrix<'_>,
    b: Matrix<'_>,
    target: Target,
    add: bool,
) {
    assert!(a.holds(m, k) && b.holds(k, n), "a matrix ends beyond its slice");
    if !add && few::suits(m, a, b) {
        // SAFETY: the caller's.
        unsafe { few::multiply([m, k, n], a, b, target) };
        return;
    }
    if m < FEW && k > 0 && weighted::suits(a, b) {
        Arch::new().dispatch(weighted::Work { size: [m, k, n], a, b, target, add });
        return;
    }
    let begin = if add { Begin::Target } else { Begin::Zero };
    // SAFETY: the caller's.
    unsafe { Part { a, b, begin }.write([m, k, n], target) };
}

/// Whether [`multiply`] is quick for few rows too, which are not worth packing the right matrix: it
/// reads it where it lies.
pub fn in_place(rows: usize, a: Matrix<'_>, b: Matrix<'_>, add: bool) -> bool {
    !add && few::suits(rows, a, b) || rows < FEW && weighted::suits(a, b)
}

/// Rows of a task.
fn block(rows: usize, panels: usize, tasks: usize) -> usize {
    let tasks = tasks * rayon::current_num_threads();
    let wanted = rows.div_ceil(tasks.div_ceil(panels.max(1)));
    wanted.clamp(ROWS[0], ROWS[1]).next_multiple_of(TILE)
}

/// A product that one thread computes.
struct Part<'a> {
    a: Matrix<'a>,
    b: Matrix<'a>,
    begin: Begin<'a>,
}

impl Part<'_> {
    /// # Safety
    /// Both matrices lie in their slices; the target is there, and nobody else's.
    unsafe fn write(self, size: [usize; 3], target: Target) {
        /// The closure's stand-in, which is compiled for every kind of vectors.
        struct Work<'a>(Part<'a>, [usize; 3], Target);

        impl WithSimd for Work<'_> {
            type Output = ();

            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                let Self(part, size, target) = self;
                // Sums, a row of the panel and one value of the left matrix fill the registers.
                // SAFETY: the caller's of `write`.
                unsafe {
                    if S::REGISTER_COUNT >= 32 {
                        part.compute::<S, 4>(simd, size, target);
                    } else {
                        part.compute::<S, 2>(simd, size, target);
                    }
                }
            }
        }
        Arch::new().dispatch(Work(self, size, target));
    }

    /// # Safety
    /// As for [`Part::write`].
    #[inline(always)]
    unsafe fn compute<S: Simd, const V: usize>(
        self,
        simd: S,
        [m, k, n]: [usize; 3],
        target: Target,
    ) {
        let width = V * S::F32_LANES;
        #[expect(clippy::large_stack_arrays, reason = "32 KiB, on stacks of megabytes")]
        let mut panel = Panel([0.0; DEPTH * COLUMNS]);
        for first in (0..k.max(1)).step_by(DEPTH) {
            let depth = DEPTH.min(k - first);
            for column in (0..n).step_by(width) {
                let columns = width.min(n - column);
                let vectors = columns.div_ceil(S::F32_LANES);
                let begin = match self.begin {
                    _ if first > 0 => Begin::Target,
                    Begin::Bias(bias) => Begin::Bias(&bias[column..column + columns]),
                    begin => begin,
                };
                let size = [depth, columns, vectors * S::F32_LANES];
                pack(&mut panel.0, size, self.b.from(first, column));
                let a = self.a.from(0, first);
                let next = Next {
                    a: self.a.from(0, first + depth),
                    b: self.b.from(first + depth, column),
                    depth: DEPTH.min(k - first - depth),
                    size: [m, columns],
                };
                let tiles = Tiles { a, panel: &panel.0, depth, columns, begin, next };
                // SAFETY: the caller's; the panel is as deep and wide as was packed.
                unsafe {
                    match vectors {
                        1 => tiles.rows::<S, 1>(simd, m, target.at(0, column)),
                        2 => tiles.rows::<S, 2>(simd, m, target.at(0, column)),
                        3 if V > 2 => tiles.rows::<S, 3>(simd, m, target.at(0, column)),
                        _ => tiles.rows::<S, V>(simd, m, target.at(0, column)),
                    }
                }
            }
        }
    }
}

/// A packed panel, on lines of the cache.
#[repr(align(64))]
struct Panel([f32; DEPTH * COLUMNS]);

/// Packs `depth` rows of `columns` values, filled up to `width` with zeros.
#[inline(always)]
fn pack(panel: &mut [f32], [depth, columns, width]: [usize; 3], b: Matrix<'_>) {
    let rows = panel.chunks_exact_mut(width).take(depth);
    if b.column == 1 {
        for (p, row) in rows.enumerate() {
            row[..columns].copy_from_slice(&b.values[p * b.row..][..columns]);
            row[columns..].fill(0.0);
        }
        return;
    }
    rows.for_each(|row| row[columns..].fill(0.0));
    for column in (0..columns).filter(|_| depth > 0) {
        let places = panel[column..].chunks_mut(width).take(depth);
        let values = &b.values[column * b.column..];
        if b.row == 1 {
            places.zip(values).for_each(|(place, &value)| place[0] = value);
        } else {
            places.enumerate().for_each(|(p, place)| place[0] = values[p * b.row]);
        }
    }
}

/// All rows of `a` against one panel.
struct Tiles<'a> {
    a: Matrix<'a>,
    panel: &'a [f32],
    depth: usize,
    columns: usize,
    begin: Begin<'a>,
    next: Next<'a>,
}

impl Tiles<'_> {
    /// # Safety
    /// `a` has `m` rows and the target too; the panel is `V` vectors wide.
    #[inline(always)]
    unsafe fn rows<S: Simd, const V: usize>(&self, simd: S, m: usize, target: Target) {
        let mut row = 0;
        // SAFETY: the caller's; a tile has no more rows than are left.
        unsafe {
            while row < m {
                let (a, target) = (self.a.from(row, 0), target.at(row, 0));
                self.next.fetch(row..m.min(row + TILE));
                row += match m - row {
                    TILE.. => self.tile::<S, TILE, V>(simd, a, target),
                    4.. => self.tile::<S, 4, V>(simd, a, target),
                    2.. => self.tile::<S, 2, V>(simd, a, target),
                    _ => self.tile::<S, 1, V>(simd, a, target),
                };
            }
        }
    }

    /// `R` rows and `V` vectors of the result; says how many rows.
    ///
    /// # Safety
    /// As for [`Tiles::rows`], for `R` rows.
    #[inline(always)]
    unsafe fn tile<S: Simd, const R: usize, const V: usize>(
        &self,
        simd: S,
        a: Matrix<'_>,
        target: Target,
    ) -> usize {
        let (start, panel) = (a.values.as_ptr(), self.panel.as_ptr());
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        for p in 0..self.depth {
            let mut b = [simd.splat_f32s(0.0); V];
            for (v, b) in b.iter_mut().enumerate() {
                // SAFETY: the panel has `depth` rows of `V` vectors.
                *b = unsafe {
                    panel.add((p * V + v) * S::F32_LANES).cast::<S::f32s>().read_unaligned()
                };
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                // SAFETY: `a` has `R` rows and at least `depth` columns.
                let x = simd.splat_f32s(unsafe { *start.add(r * a.row + p * a.column) });
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = simd.mul_add_e_f32s(x, b, *sum);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            // SAFETY: the caller's.
            unsafe { self.store(simd, target.at(r, 0), sums) };
        }
        R
    }

    /// Writes or adds one row of a tile.
    ///
    /// # Safety
    /// The target has room for the panel's columns.
    #[inline(always)]
    unsafe fn store<S: Simd, const V: usize>(&self, simd: S, target: Target, sums: [S::f32s; V]) {
        for (v, sum) in sums.into_iter().enumerate() {
            let first = v * S::F32_LANES;
            let place = target.start.wrapping_add(first);
            let begin = match self.begin {
                Begin::Zero => None,
                Begin::Bias(bias) => Some(bias.as_ptr().wrapping_add(first)),
                Begin::Target => Some(place.cast_const()),
            };
            let lanes = self.columns - first;
            // SAFETY: the caller's: whole vectors where there is room for one, lanes elsewhere.
            unsafe {
                if lanes >= S::F32_LANES {
                    let sum = match begin {
                        None => sum,
                        Some(begin) => simd.add_f32s(begin.cast::<S::f32s>().read_unaligned(), sum),
                    };
                    place.cast::<S::f32s>().write_unaligned(sum);
                } else {
                    let mask = simd.mask_between_m32s(0, lanes as u32);
                    let sum = match begin {
                        None => sum,
                        Some(begin) => simd.add_f32s(simd.mask_load_ptr_f32s(mask, begin), sum),
                    };
                    simd.mask_store_ptr_f32s(mask, place, sum);
                }
            }
        }
    }
}

/// What the next panel is made of and meets.
struct Next<'a> {
    a: Matrix<'a>,
    b: Matrix<'a>,
    depth: usize,
    size: [usize; 2],
}

impl Next<'_> {
    /// Fetches the share of some rows of the result, if `a` lies by columns: then it and `b` are
    /// read in strides over which the machine fetches nothing by itself.
    #[inline(always)]
    fn fetch(&self, rows: Range<usize>) {
        let [m, n] = self.size;
        if self.a.row >= self.a.column {
            return;
        }
        for p in rows.start * self.depth / m..rows.end * self.depth / m {
            for (matrix, width) in [(self.a, m), (self.b.transposed(), n)] {
                (0..width).step_by(LINE).for_each(|i| fetch(matrix.values, p * matrix.column + i));
            }
        }
    }
}

/// Brings the line of a value into the second cache.
#[inline(always)]
fn fetch(values: &[f32], at: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: fetching ahead touches no memory, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(values.as_ptr().wrapping_add(at).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, at);
}
