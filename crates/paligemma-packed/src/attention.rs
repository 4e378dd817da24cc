//! Softmax attention of many queries to the same keys, on matrix tiles.

#[cfg(target_arch = "x86_64")]
use crate::kernels::attention as tiles;
use crate::math::tanh;
use crate::product::FEW;
#[cfg(target_arch = "x86_64")]
use crate::{Isa, kernels::attention::Tiles};

/// Rows of channels that lie together, at a distance from each other.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The first row is at the beginning.
    pub values: &'a [f32],
    /// Values from a row to the next.
    pub stride: usize,
    /// How many rows.
    pub count: usize,
}

/// How products of queries and keys become scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scoring {
    /// What a product is multiplied by.
    pub scale: f32,
    /// The size that a scaled product `x` cannot reach: it becomes `c tanh(x / c)`.
    pub softcap: Option<f32>,
}

impl Scoring {
    /// Scores that are scaled products.
    pub const fn scaled(scale: f32) -> Self {
        Self { scale, softcap: None }
    }

    /// Products to scores, in place.
    #[inline(always)]
    pub fn apply(self, products: &mut [f32]) {
        match self.softcap {
            None => {
                for product in products {
                    *product *= self.scale;
                }
            }
            Some(cap) => {
                let scale = self.scale / cap;
                for product in products {
                    *product = cap * tanh(*product * scale);
                }
            }
        }
    }
}

/// Keys and values of one head as matrix tiles, in bfloat16; sums and softmax are f32.
pub struct TileKeys {
    #[cfg(target_arch = "x86_64")]
    tiles: Tiles,
}

impl TileKeys {
    /// Keys and values of `width` channels, for `queries` queries; none on a machine without
    /// tiles, or where so few queries are not worth them.
    ///
    /// # Panics
    /// If there are not as many values as keys, or a row is out of its slice.
    pub fn new(key: Rows<'_>, value: Rows<'_>, width: usize, queries: usize) -> Option<Self> {
        assert_eq!(key.count, value.count, "keys and values differ in number");
        #[cfg(target_arch = "x86_64")]
        if Isa::best() == Isa::Amx && queries > FEW && key.count > 0 && width > 0 {
            return Some(Self { tiles: Tiles::new(key, value, width) });
        }
        let _ = (width, queries > FEW);
        None
    }

    /// `softmax(score(q k^T)) v`; `write` gets every query's index and its channels.
    ///
    /// # Shapes
    /// - `query`: `[L, width]`
    /// - `masked`: `[L, keys]`, not zero where a query does not attend
    ///
    /// # Panics
    /// If a row is out of its slice, or the mask has another length.
    pub fn attend(
        &self,
        query: Rows<'_>,
        masked: Option<&[u8]>,
        scoring: Scoring,
        write: impl FnMut(usize, &[f32]),
    ) {
        #[cfg(target_arch = "x86_64")]
        tiles::attend(&self.tiles, query, masked, scoring, write);
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (query, masked, scoring, write);
    }
}
