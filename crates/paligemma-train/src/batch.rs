//! Prompts with their answers as one padded batch.

use burn::tensor::{Int, Tensor, TensorData};
use paligemma_nn::{NnBackend, PrefixMask};

/// One example: the prompt's text tokens (from `<bos>` to the newline) and the answer's tokens
/// with the closing `<eos>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which picture of the batch it asks about.
    pub picture: usize,
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

    /// The picture of every row.
    ///
    /// # Shapes
    /// - output: `[B]`
    pub fn pictures<B: NnBackend>(&self, device: &B::Device) -> Tensor<B, 1, Int> {
        let pictures: Vec<i64> = self.rows.iter().map(|row| row.picture as i64).collect();
        Tensor::from_data(TensorData::new(pictures, [self.rows.len()]), device)
    }

    /// The prefix-LM mask, with `features` picture tokens before each prompt.
    pub fn mask(&self, features: usize) -> PrefixMask {
        let lengths = self.rows.iter().map(|row| (features + row.prefix.len(), row.suffix.len()));
        PrefixMask::with_suffixes(&lengths.collect::<Vec<_>>())
    }

    /// Where the answers are predicted: the slot before each answer token (flat over the batch),
    /// the token itself, and its weight: the mean over an answer, then over the batch.
    pub(crate) fn targets(&self, features: usize) -> Targets {
        let length = features + self.longest();
        let mut targets = Targets::default();
        for (i, row) in self.rows.iter().enumerate() {
            let first = i * length + features + row.prefix.len() - 1;
            let weight = 1.0 / (row.suffix.len() * self.rows.len()) as f32;
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
