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
mod plain;
#[cfg(target_arch = "x86_64")]
pub(crate) mod tiles;

use crate::product::Product;

/// Many rows, on matrix tiles.
#[cfg(target_arch = "x86_64")]
pub(crate) fn many(product: &Product<'_>, x: &[f32]) {
    amx::linear(product, x);
}

/// Many rows, on matrix tiles, which this architecture lacks.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn many(_product: &Product<'_>, _x: &[f32]) {
    unreachable!("no other architecture is detected to have tiles");
}
