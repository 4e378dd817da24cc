//! The prefix-LM mask: who may attend to whom, and at which position each token stands.
//!
//! One engine serves single prompts, ragged batches, several pictures, scoring and training.
//! A row is described by what each of its slots holds; everything else follows:
//! a query attends to every prefix token of its row, and a suffix token also to the suffix tokens
//! up to itself (big_vision `models/proj/paligemma/paligemma.py`, `make_attn_mask`).
//!
//! ```
//! use paligemma_nn::{PrefixMask, TokenKind::{Pad, Prefix, Suffix}};
//!
//! // Causal: everything is suffix.
//! let causal = PrefixMask::new(vec![vec![Suffix, Suffix, Suffix]]);
//! assert_eq!(causal.attend(0..3), [1, 0, 0, 1, 1, 0, 1, 1, 1].map(|a| a == 1));
//! // Prefix-LM: the first two see each other, never the answer.
//! let prefix = PrefixMask::new(vec![vec![Prefix, Prefix, Suffix]]);
//! assert_eq!(prefix.attend(0..3), [1, 1, 0, 1, 1, 0, 1, 1, 1].map(|a| a == 1));
//! // Padding is never attended to and holds no position.
//! let padded = PrefixMask::new(vec![vec![Pad, Prefix, Suffix]]);
//! assert_eq!(padded.attend(2..3), [0, 1, 1].map(|a| a == 1));
//! assert_eq!(padded.positions(), [vec![0, 0, 1]]);
//! // In a window of two an answer token sees itself and the token before; the prefix stays whole.
//! let answer = PrefixMask::new(vec![vec![Prefix, Prefix, Prefix, Suffix, Suffix]]);
//! assert_eq!(answer.attend_within(0..1, Some(2)), [1, 1, 1, 0, 0].map(|a| a == 1));
//! assert_eq!(answer.attend_within(3..5, Some(2)), [0, 0, 1, 1, 0, 0, 0, 0, 1, 1].map(|a| a == 1));
//! ```

use std::ops::Range;

use burn::tensor::{Bool, Tensor, TensorData};

use crate::NnBackend;

/// What one slot of a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Nothing: no query attends to it. Padding may stand anywhere in a row.
    Pad,
    /// A picture or prompt token: attends to, and is attended by, the whole prefix.
    Prefix,
    /// An answer token: attends to the prefix and to the answer up to itself.
    Suffix,
}

/// The kinds of all slots of a batch, row by row; grows as tokens are generated.
#[derive(Clone, Debug)]
pub struct PrefixMask {
    rows: Vec<Vec<TokenKind>>,
}

impl PrefixMask {
    /// A mask of rows that all have the same number of slots.
    ///
    /// # Panics
    /// If two rows differ in length.
    pub fn new(rows: Vec<Vec<TokenKind>>) -> Self {
        let length = rows.first().map_or(0, Vec::len);
        assert!(rows.iter().all(|row| row.len() == length), "rows of a mask differ in length");
        Self { rows }
    }

    /// A batch of prefixes alone, padded at their ends to the longest.
    pub fn prefixes(lengths: &[usize]) -> Self {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let row = |&length: &usize| {
            let kind = |slot| if slot < length { TokenKind::Prefix } else { TokenKind::Pad };
            (0..longest).map(kind).collect()
        };
        Self::new(lengths.iter().map(row).collect())
    }

    /// A batch of prefixes with their answers, `(prefix, suffix)` tokens each, padded at the end.
    pub fn with_suffixes(lengths: &[(usize, usize)]) -> Self {
        let longest = lengths.iter().map(|(prefix, suffix)| prefix + suffix).max().unwrap_or(0);
        let row = |&(prefix, suffix): &(usize, usize)| {
            let kind = |slot| match slot {
                slot if slot < prefix => TokenKind::Prefix,
                slot if slot < prefix + suffix => TokenKind::Suffix,
                _ => TokenKind::Pad,
            };
            (0..longest).map(kind).collect()
        };
        Self::new(lengths.iter().map(row).collect())
    }

    /// Appends one slot to every row.
    pub fn push(&mut self, kind: TokenKind) {
        for row in &mut self.rows {
            row.push(kind);
        }
    }

    /// Slots per row.
    pub fn len(&self) -> usize {
        self.rows.first().map_or(0, Vec::len)
    }

    /// Whether the rows have no slots.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows.
    pub fn rows(&self) -> &[Vec<TokenKind>] {
        &self.rows
    }

    /// The position of every slot in its row: tokens count from 0, padding holds none (0).
    pub fn positions(&self) -> Vec<Vec<usize>> {
        let row = |row: &Vec<TokenKind>| {
            let mut next = 0;
            let position = |kind: &TokenKind| match kind {
                TokenKind::Pad => 0,
                TokenKind::Prefix | TokenKind::Suffix => {
                    next += 1;
                    next - 1
                }
            };
            row.iter().map(position).collect()
        };
        self.rows.iter().map(row).collect()
    }

    /// Whether each of the `queries` may attend to each slot, `[B, L, S]` flattened.
    pub fn attend(&self, queries: Range<usize>) -> Vec<bool> {
        self.attend_within(queries, None)
    }

    /// [`PrefixMask::attend`] within a sliding window: an answer token sees the `window` tokens
    /// that end with itself, whatever they are; the prefix sees all of the prefix
    /// (transformers 5.23.0 `modeling_paligemma.py` and `create_sliding_window_causal_mask`).
    pub fn attend_within(&self, queries: Range<usize>, window: Option<usize>) -> Vec<bool> {
        let mut all = Vec::with_capacity(self.rows.len() * queries.len() * self.len());
        // Positions, not slots: padding between two tokens does not set them apart.
        let positions = window.map(|window| (window, self.positions()));
        for (i, row) in self.rows.iter().enumerate() {
            for query in queries.clone() {
                let asks = row[query];
                let near = |slot: usize| match &positions {
                    Some((window, positions)) if asks == TokenKind::Suffix => {
                        positions[i][slot] + window > positions[i][query]
                    }
                    _ => true,
                };
                all.extend(row.iter().enumerate().map(|(slot, kind)| match kind {
                    TokenKind::Pad => false,
                    TokenKind::Prefix => near(slot),
                    TokenKind::Suffix => asks == TokenKind::Suffix && slot <= query && near(slot),
                }));
            }
        }
        all
    }

    /// The mask of the `queries` for [`crate::attention`], within a window if there is one: true
    /// where a slot is out of bounds; `None` where every query sees every slot.
    ///
    /// # Shapes
    /// - output: `[B, L, S]`
    pub fn masked<B: NnBackend>(
        &self,
        queries: Range<usize>,
        window: Option<usize>,
        device: &B::Device,
    ) -> Option<Tensor<B, 3, Bool>> {
        let shape = [self.rows.len(), queries.len(), self.len()];
        let attend = self.attend_within(queries, window).into_iter();
        let masked: Vec<bool> = attend.map(|attends| !attends).collect();
        masked.contains(&true).then(|| Tensor::from_data(TensorData::new(masked, shape), device))
    }
}
