//! `x W^T + b` with a packed `W`.

use std::array::from_fn;
use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::activations::{FloatRows, Int8Rows};
use crate::isa::Isa;
use crate::kernels::{self, FewTiles, few};
use crate::layout::{LANES, MOST_INPUTS, PackedFormat, PackedLayout};
use crate::math::{tanh_gelu, vectorised};
use crate::pack::int8_scales;
use crate::threads::piece;

/// Rows that a vector kernel takes at once. Up to here tiles are no quicker, and vectors keep
/// activations more exactly, except for 8 bits, where both give the same sums.
pub(crate) const FEW: usize = 8;
/// Rows from which tiles are quicker in 8 bits: with fewer, vectors wait for memory as well.
const FEWEST_TILED: usize = 4;

/// What becomes of the results of a product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    #[default]
    Identity,
    /// GELU in its tanh form ([`crate::math::gelu_gate`]).
    TanhGelu,
}

impl Activation {
    /// Applies it to results that are in memory already.
    fn apply(self, values: &mut [f32]) {
        const PIECE: usize = 1 << 14;
        if self == Self::TanhGelu {
            values.par_chunks_mut(PIECE).for_each(|piece| {
                vectorised(
                    #[inline(always)]
                    || piece.iter_mut().for_each(|value| *value = tanh_gelu(*value)),
                );
            });
        }
    }
}

/// The output, written by several threads at different columns.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    pointer: *mut f32,
    rows: usize,
    columns: usize,
}

#[expect(unsafe_code, reason = "threads write columns of one matrix, which no slice can describe")]
// SAFETY: every write goes to columns that only the writing thread was given.
unsafe impl Sync for Output {}

impl Output {
    pub(crate) fn new(out: &mut [MaybeUninit<f32>], columns: usize) -> Self {
        let rows = out.len() / columns.max(1);
        Self { pointer: out.as_mut_ptr().cast(), rows, columns }
    }

    /// The element at a row and column.
    #[inline(always)]
    fn at(&self, row: usize, column: usize) -> *mut f32 {
        assert!(row < self.rows && column < self.columns, "outside of the output");
        self.pointer.wrapping_add(row * self.columns + column)
    }

    /// Writes as many of `values` as there are columns from `column` on.
    #[inline(always)]
    #[expect(unsafe_code, reason = "see above")]
    pub(crate) fn write(&self, row: usize, column: usize, values: &[f32; LANES]) {
        let (at, count) = (self.at(row, column), LANES.min(self.columns - column));
        // SAFETY: row and columns lie inside the slice; no other thread writes these columns.
        unsafe {
            if count == LANES {
                at.cast::<[f32; LANES]>().write_unaligned(*values);
            } else {
                Self::write_some(at, &values[..count]);
            }
        }
    }

    /// Kept out of line: inlined, the compiler makes one `memcpy` of any length of both ways.
    ///
    /// # Safety
    /// There is room.
    #[cold]
    #[inline(never)]
    #[expect(unsafe_code, reason = "see above")]
    unsafe fn write_some(at: *mut f32, values: &[f32]) {
        // SAFETY: the caller's.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), at, values.len()) };
    }
}

impl PackedLayout {
    /// `activation(x W^T + bias)`, with the best instructions of this machine.
    ///
    /// # Shapes
    /// - `x`: `[rows, inputs]`
    /// - `bias`: `[outputs]`
    /// - output: `[rows, outputs]`
    ///
    /// # Panics
    /// If `packed` is not of this layout, or the slices do not have these shapes.
    pub fn linear(
        &self,
        packed: &[u8],
        x: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
    ) -> Vec<f32> {
        self.linear_with(Isa::best(), packed, x, bias, activation)
    }

    /// [`PackedLayout::linear`] with the instructions `isa`, or the machine's best if those are
    /// less.
    ///
    /// # Panics
    /// As [`PackedLayout::linear`].
    pub fn linear_with(
        &self,
        isa: Isa,
        packed: &[u8],
        x: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
    ) -> Vec<f32> {
        let rows = x.len() / self.inputs.max(1);
        assert!(self.inputs <= MOST_INPUTS, "sums of so many products may not fit");
        assert_eq!(packed.len(), self.bytes(), "the packed matrix has another layout");
        assert_eq!(rows * self.inputs, x.len(), "the activations have another width");
        assert!(bias.is_none_or(|bias| bias.len() == self.outputs), "the bias has another length");
        let length = rows * self.outputs;
        // Not filled with zeros first, which would cost as much as writing the results.
        let mut out = Vec::with_capacity(length);
        let isa = isa.min(Isa::best());
        let product = Product {
            layout: *self,
            packed,
            bias: padded(bias.unwrap_or(&[]), self.panels() * LANES),
            out: Output::new(&mut out.spare_capacity_mut()[..length], self.outputs),
            rows,
        };
        if length == 0 {
            return out;
        }
        let tiles = isa == Isa::Amx && rows > FEW;
        let pairs = isa == Isa::Avx512Bf16 && rows > FEW && self.format == PackedFormat::Bf16;
        if tiles {
            kernels::many(&product, x, activation);
        } else if pairs {
            kernels::many_pairs(&product, x);
        } else {
            product.few(isa, x);
        }
        #[expect(unsafe_code, reason = "see above")]
        // SAFETY: a product writes every row of every panel.
        unsafe {
            out.set_len(length);
        }
        if !tiles {
            activation.apply(&mut out);
        }
        out
    }
}

/// `values` and zeros after them.
fn padded(values: &[f32], length: usize) -> Vec<f32> {
    let mut all = values.to_vec();
    all.resize(length, 0.0);
    all
}

/// One product in the making.
pub(crate) struct Product<'a> {
    pub(crate) layout: PackedLayout,
    pub(crate) packed: &'a [u8],
    bias: Vec<f32>,
    out: Output,
    pub(crate) rows: usize,
}

impl Product<'_> {
    pub(crate) fn panel(&self, panel: usize) -> &[u8] {
        &self.packed[panel * self.layout.panel_bytes()..][..self.layout.panel_bytes()]
    }

    /// Adds the bias to the values of a row of a panel and writes them out.
    #[inline(always)]
    pub(crate) fn write(&self, row: usize, panel: usize, mut values: [f32; LANES]) {
        let bias = &self.bias[panel * LANES..][..LANES];
        for (value, bias) in values.iter_mut().zip(bias) {
            *value += bias;
        }
        self.out.write(row, panel * LANES, &values);
    }

    #[cfg(target_arch = "x86_64")]
    /// Where the values of a row of a panel go, their bias, and how many there are.
    #[inline(always)]
    pub(crate) fn place(&self, row: usize, panel: usize) -> (*mut f32, &[f32], usize) {
        let column = panel * LANES;
        let count = LANES.min(self.layout.outputs - column);
        (self.out.at(row, column), &self.bias[column..][..LANES], count)
    }

    /// Runs `work` for every panel, on as many threads as the work is worth.
    fn each_panel(&self, work: impl Fn(usize) + Send + Sync) {
        self.each_panel_with(|| (), |(), panel| work(panel));
    }

    /// The same with what each piece of the work begins with.
    pub(crate) fn each_panel_with<T>(
        &self,
        begin: impl Fn() -> T + Send + Sync,
        work: impl Fn(&mut T, usize) + Send + Sync,
    ) {
        self.each_part_with(1, begin, work);
    }

    /// Runs `work` for the first of every `size` panels.
    fn each_part_with<T>(
        &self,
        size: usize,
        begin: impl Fn() -> T + Send + Sync,
        work: impl Fn(&mut T, usize) + Send + Sync,
    ) {
        let parts = self.layout.panels().div_ceil(size);
        let piece = piece(parts, size * self.rows * self.layout.depth() * LANES);
        if parts <= piece {
            let mut own = begin();
            (0..parts).for_each(|part| work(&mut own, part * size));
        } else {
            let pieces = (0..parts).into_par_iter().with_min_len(piece).with_max_len(piece);
            pieces.for_each_init(begin, |own, part| work(own, part * size));
        }
    }

    /// The same for two panels at a time; of an odd number, the last is its own pair.
    pub(crate) fn each_pair_with<T>(
        &self,
        begin: impl Fn() -> T + Send + Sync,
        work: impl Fn(&mut T, [usize; 2]) + Send + Sync,
    ) {
        let last = self.layout.panels() - 1;
        self.each_part_with(2, begin, |own, left| work(own, [left, (left + 1).min(last)]));
    }

    /// Few rows, in vectors: each panel is read once for up to eight rows.
    fn few(&self, isa: Isa, x: &[f32]) {
        let inputs = self.layout.inputs;
        match self.layout.format {
            PackedFormat::Bf16 => self.few_bf16(isa, &FloatRows::new(x, inputs)),
            PackedFormat::Int8 => self.few_int8(isa, &Int8Rows::new(x, inputs)),
            PackedFormat::Int4 => self.few_int4(isa, &Int8Rows::new(x, inputs)),
        }
    }

    fn few_bf16(&self, isa: Isa, x: &FloatRows<'_>) {
        let rows: Vec<_> = (0..self.rows).map(|row| x.row(row)).collect();
        self.each_panel(|panel| {
            for (first, rows) in chunks(&rows) {
                few::bf16(isa, rows, self.panel(panel), |values| {
                    self.write_rows(
                        first,
                        panel,
                        values,
                        #[inline(always)]
                        |_, values| *values,
                    );
                });
            }
        });
    }

    fn few_int8(&self, isa: Isa, x: &Int8Rows) {
        if isa == Isa::Amx && (FEWEST_TILED..=FEW).contains(&self.rows) {
            self.each_panel_with(
                || FewTiles::new(self.rows),
                |tiles, panel| {
                    let sums = tiles.sums(x.rows(0, self.rows), self.int8_weights(panel));
                    self.write_int8(x, 0, panel, &sums[..self.rows]);
                },
            );
            return;
        }
        let rows: Vec<_> = (0..self.rows).map(|row| (x.row(row), x.sums[row])).collect();
        if self.rows <= FEW || isa < Isa::Avx512 {
            // Few rows read weights from memory once, best in the order in which they lie.
            self.each_panel(|panel| self.int8_panels(isa, x, &rows, [panel]));
        } else {
            // Others read them from the cache; what is broadcast of a row serves two panels.
            self.each_pair_with(|| (), |(), pair| self.int8_panels(isa, x, &rows, pair));
        }
    }

    /// The rows with one panel or two.
    fn int8_panels<const P: usize>(
        &self,
        isa: Isa,
        x: &Int8Rows,
        rows: &[(&[i8], i32)],
        panels: [usize; P],
    ) {
        let weights = panels.map(|panel| self.int8_weights(panel));
        for (first, rows) in chunks(rows) {
            few::int8(isa, rows, weights, |sums| {
                for (panel, sums) in panels.into_iter().zip(sums) {
                    self.write_int8(x, first, panel, sums);
                }
            });
        }
    }

    fn few_int4(&self, isa: Isa, x: &Int8Rows) {
        let rows: Vec<_> = (0..self.rows).map(|row| (x.row(row), x.group_sums(row))).collect();
        self.each_panel(|panel| {
            for (first, rows) in chunks(&rows) {
                few::int4(isa, rows, self.panel(panel), |values| {
                    self.write_rows(
                        first,
                        panel,
                        values,
                        #[inline(always)]
                        |row, values| {
                            let unit = x.scales[row];
                            values.map(|value| value * unit)
                        },
                    );
                });
            }
        });
    }

    /// The weights of a panel, without the scales that end it.
    fn int8_weights(&self, panel: usize) -> &[u8] {
        &self.panel(panel)[..self.layout.depth() * LANES]
    }

    /// Writes what a panel of 8-bit weights sums up to for the rows from `first` on.
    fn write_int8(&self, x: &Int8Rows, first: usize, panel: usize, sums: &[[i32; LANES]]) {
        // Read after the weights before them, which fetch them on their way, if of one panel.
        let scales = int8_scales(self.panel(panel));
        self.write_rows(
            first,
            panel,
            sums,
            #[inline(always)]
            |row, sums| {
                let unit = x.scales[row];
                from_fn(|i| sums[i] as f32 * (unit * scales[i]))
            },
        );
    }

    /// Writes what a panel gives for the rows from `first` on, each made a result by `finish`.
    #[inline(always)]
    fn write_rows<T>(
        &self,
        first: usize,
        panel: usize,
        rows: &[[T; LANES]],
        finish: impl Fn(usize, &[T; LANES]) -> [f32; LANES],
    ) {
        vectorised(
            #[inline(always)]
            || {
                for (row, values) in (first..).zip(rows) {
                    self.write(row, panel, finish(row, values));
                }
            },
        );
    }
}

/// Rows in chunks of [`FEW`], with the index of the first of each.
fn chunks<T>(rows: &[T]) -> impl Iterator<Item = (usize, &[T])> {
    (0..).step_by(FEW).zip(rows.chunks(FEW))
}
