//! Activations as a product reads them.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::layout::{GROUP, STEP};
use crate::math::vectorised;
use crate::threads::piece;

/// Rows of f32, padded with zeros where they need it.
pub(crate) struct FloatRows<'a> {
    values: Cow<'a, [f32]>,
    depth: usize,
}

impl<'a> FloatRows<'a> {
    pub(crate) fn new(x: &'a [f32], inputs: usize) -> Self {
        let depth = inputs.next_multiple_of(STEP);
        if depth == inputs {
            return Self { values: Cow::Borrowed(x), depth };
        }
        let mut values = vec![0.0; x.len() / inputs * depth];
        for (row, out) in x.chunks_exact(inputs).zip(values.chunks_exact_mut(depth)) {
            out[..inputs].copy_from_slice(row);
        }
        Self { values: Cow::Owned(values), depth }
    }

    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.depth..][..self.depth]
    }
}

/// Rows of 8-bit integers, each with its scale, padded with zeros.
pub(crate) struct Int8Rows {
    values: Vec<i8>,
    /// What a unit of each row is worth.
    pub(crate) scales: Vec<f32>,
    /// Sums of each group of a row, and of whole rows.
    group_sums: Vec<i32>,
    pub(crate) sums: Vec<i32>,
    depth: usize,
}

impl Int8Rows {
    pub(crate) fn new(x: &[f32], inputs: usize) -> Self {
        let (rows, depth) = (x.len() / inputs, inputs.next_multiple_of(STEP));
        let mut values = vec![0_i8; rows * depth];
        let mut group_sums = vec![0_i32; rows * depth / GROUP];
        let make = |((x, out), sums): ((&[f32], &mut [i8]), &mut [i32])| {
            vectorised(
                #[inline(always)]
                || {
                    let scale = quantize(x, out);
                    for (sum, group) in sums.iter_mut().zip(out.as_chunks::<GROUP>().0) {
                        *sum = group.iter().map(|&value| i32::from(value)).sum();
                    }
                    (scale, sums.iter().sum::<i32>())
                },
            )
        };
        let made = x
            .par_chunks_exact(inputs)
            .zip(values.par_chunks_exact_mut(depth))
            .zip(group_sums.par_chunks_exact_mut(depth / GROUP))
            .with_min_len(piece(rows, inputs));
        let (scales, sums) = made.map(make).unzip();
        Self { values, scales, group_sums, sums, depth }
    }

    pub(crate) fn row(&self, row: usize) -> &[i8] {
        self.rows(row, 1)
    }

    /// `count` rows from `first` on, one after the other.
    pub(crate) fn rows(&self, first: usize, count: usize) -> &[i8] {
        &self.values[first * self.depth..][..count * self.depth]
    }

    pub(crate) fn group_sums(&self, row: usize) -> &[i32] {
        let groups = self.depth / GROUP;
        &self.group_sums[row * groups..][..groups]
    }
}

/// Adding this to a number below 2^22 leaves its nearest integer in the lowest bits.
pub(crate) const ROUNDER: f32 = 12_582_912.0;

/// A row to integers from -127 to 127; the scale that turns them back.
#[inline(always)]
pub(crate) fn quantize(row: &[f32], out: &mut [i8]) -> f32 {
    // Compared as integers, which vectorises where the maximum of floats does not.
    let most = row.iter().fold(0, |most, value| most.max(value.to_bits() & 0x7FFF_FFFF));
    let most = f32::from_bits(most);
    let inverse = if most > 0.0 { 127.0 / most } else { 0.0 };
    for (value, out) in row.iter().zip(out) {
        *out = (value * inverse + ROUNDER).to_bits() as i8;
    }
    most / 127.0
}
