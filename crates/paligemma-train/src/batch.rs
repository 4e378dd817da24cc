//! Prompts with their answers as one padded batch.

use std::ops::Range;

use burn::tensor::{Int, Tensor, TensorData};
use paligemma_nn::{NnBackend, PrefixMask, TokenKind};

use crate::Mean;

/// One example: the prompt's text tokens (from `<bos>` to the newline) and the answer's tokens
/// with the closing `<eos>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which pictures of the batch it asks about, in the order of the prompt.
    pub pictures: Vec<usize>,
    /// The prompt's text tokens.
    pub prefix: Vec<u32>,
    /// The answer's tokens, `<eos>` included.
    pub suffix: Vec<u32>,
}

/// A batch of examples over pictures that are encoded once.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    rows: Vec<Row>,
}

impl Rows {
    /// A batch of `rows`.
    pub fn new(rows: Vec<Row>) -> Self {
        Self { rows }
    }

    /// The examples.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    fn longest(&self) -> usize {
        self.rows.iter().map(|row| row.prefix.len() + row.suffix.len()).max().unwrap_or(0)
    }

    /// Text tokens, padded at the end with `pad`.
    ///
    /// # Shapes
    /// - output: `[B, T]`
    pub fn ids<B: NnBackend>(&self, pad: u32, device: &B::Device) -> Tensor<B, 2, Int> {
        let longest = self.longest();
        let ids = self.rows.iter().flat_map(|row| {
            let tokens = row.prefix.iter().chain(&row.suffix).copied();
            tokens.chain(std::iter::repeat(pad)).take(longest).map(i64::from)
        });
        let data = TensorData::new(ids.collect::<Vec<i64>>(), [self.rows.len(), longest]);
        Tensor::from_data(data, device)
    }

    /// Pictures of the row that has most.
    fn most_pictures(&self) -> usize {
        self.rows.iter().map(|row| row.pictures.len()).max().unwrap_or(0)
    }

    /// Every row's picture features, one after the other; rows of fewer pictures are filled with
    /// another's, which [`Rows::mask`] hides.
    ///
    /// # Shapes
    /// - `features`: `[I, N, D]`, one entry per picture of the batch
    /// - output: `[B, P N, D]`
    pub fn features<B: NnBackend>(&self, features: Tensor<B, 3>) -> Tensor<B, 3> {
        let most = self.most_pictures();
        let pictures = self.rows.iter().flat_map(|row| {
            let pictures = row.pictures.iter().copied().chain(std::iter::repeat(0));
            pictures.take(most).map(|picture| picture as i64)
        });
        let pictures = TensorData::new(pictures.collect::<Vec<i64>>(), [self.rows.len() * most]);
        let pictures = Tensor::<B, 1, Int>::from_data(pictures, &features.device());
        let [_, count, width] = features.dims();
        features.select(0, pictures).reshape([self.rows.len(), most * count, width])
    }

    /// The prefix-LM mask, where a picture has `count` tokens.
    pub fn mask(&self, count: usize) -> PrefixMask {
        use TokenKind::{Pad, Prefix, Suffix};
        let (pictures, text) = (self.most_pictures() * count, self.longest());
        let row = |row: &Row| {
            let seen = row.pictures.len() * count;
            let kinds = [
                (seen, Prefix),
                (pictures - seen, Pad),
                (row.prefix.len(), Prefix),
                (row.suffix.len(), Suffix),
                (text - row.prefix.len() - row.suffix.len(), Pad),
            ];
            kinds.into_iter().flat_map(|(count, kind)| std::iter::repeat_n(kind, count)).collect()
        };
        PrefixMask::new(self.rows.iter().map(row).collect())
    }

    /// Where the answers are predicted: the slot before each answer token (flat over the batch),
    /// the token itself, and its weight in the mean. A picture has `count` tokens.
    pub(crate) fn targets(&self, count: usize, mean: Mean) -> Targets {
        let pictures = self.most_pictures() * count;
        let length = pictures + self.longest();
        let tokens: usize = self.rows.iter().map(|row| row.suffix.len()).sum();
        let mut targets = Targets::default();
        for (i, row) in self.rows.iter().enumerate() {
            let first = i * length + pictures + row.prefix.len() - 1;
            let weight = match mean {
                Mean::Examples => 1.0 / (row.suffix.len() * self.rows.len()) as f32,
                Mean::Tokens => 1.0 / tokens as f32,
            };
            for (k, &token) in row.suffix.iter().enumerate() {
                targets.slots.push((first + k) as i64);
                targets.tokens.push(i64::from(token));
                targets.weights.push(weight);
            }
        }
        targets
    }
}

/// What the loss compares, one entry per answer token.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    pub(crate) slots: Vec<i64>,
    pub(crate) tokens: Vec<i64>,
    pub(crate) weights: Vec<f32>,
}

impl Targets {
    /// Some of them.
    pub(crate) fn part(&self, range: Range<usize>) -> Self {
        Self {
            slots: self.slots[range.clone()].to_vec(),
            tokens: self.tokens[range.clone()].to_vec(),
            weights: self.weights[range].to_vec(),
        }
    }
}
