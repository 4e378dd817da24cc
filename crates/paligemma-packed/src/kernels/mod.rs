//! Panels times rows, per instruction set.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
pub(crate) mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod few;
#[cfg(target_arch = "x86_64")]
mod pairs;
mod plain;
#[cfg(target_arch = "x86_64")]
pub(crate) mod tiles;

use crate::layout::LANES;
use crate::product::{Activation, FEW, Product};

/// Many rows, on matrix tiles.
#[cfg(target_arch = "x86_64")]
pub(crate) fn many(product: &Product<'_>, x: &[f32], activation: Activation) {
    amx::linear(product, x, activation);
}

/// Many rows, on matrix tiles, which this architecture lacks.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn many(_product: &Product<'_>, _x: &[f32], _activation: Activation) {
    unreachable!("no other architecture is detected to have tiles");
}

/// Many rows of bfloat16, in vectors that multiply pairs of them.
#[cfg(target_arch = "x86_64")]
pub(crate) fn many_pairs(product: &Product<'_>, x: &[f32]) {
    pairs::linear(product, x);
}

/// Many rows of bfloat16, in vectors that this architecture lacks.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn many_pairs(_product: &Product<'_>, _x: &[f32]) {
    unreachable!("no other architecture is detected to have such vectors");
}

/// A thread's tiles, set for a few rows of 8-bit activations.
pub(crate) struct FewTiles {
    rows: usize,
    #[cfg(target_arch = "x86_64")]
    _session: tiles::TileSession,
}

impl FewTiles {
    /// Tiles for `rows` rows, [`FEW`] at most; the machine must have tiles.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn new(rows: usize) -> Self {
        Self { rows, _session: tiles::TileSession::few(rows) }
    }

    /// No other architecture is detected to have tiles.
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn new(rows: usize) -> Self {
        Self { rows }
    }

    /// `sum over k of x[row][k] * w[k]`, as `few::int8` gives it.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn sums(&self, x: &[i8], panel: &[u8]) -> [[i32; LANES]; FEW] {
        #[expect(unsafe_code, reason = "instructions of the machine")]
        // SAFETY: the session is open, and a `FewTiles` stays on its thread.
        unsafe {
            tiles::few_int8(self.rows, x, panel)
        }
    }

    /// See [`FewTiles::new`].
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn sums(&self, _x: &[i8], _panel: &[u8]) -> [[i32; LANES]; FEW] {
        unreachable!("{} rows on tiles that are not there", self.rows);
    }
}
