//! A golden model on a device, and the golden inputs in the form it takes.

use burn::tensor::{Bool, Int, Tensor, TensorData};
use paligemma::{Dtype, Model, Prompt, Storage};
use paligemma_checkpoint::{LoadError, PaliGemmaConfig};
use paligemma_nn::{NnBackend, PrefixMask};

use super::{Measured, Quantity, tolerance};
use crate::reference::{Row, Tiny};

/// A golden model, ready to be measured.
#[derive(Debug)]
pub struct Bench<B: NnBackend> {
    pub(crate) golden: Tiny,
    pub(crate) config: PaliGemmaConfig,
    pub(crate) model: Model<B>,
    pub(crate) device: B::Device,
    pub(crate) storage: Storage,
}

impl<B: NnBackend> Bench<B> {
    /// Loads the golden weights into `storage`.
    ///
    /// # Errors
    /// If the device does not compute in its type.
    pub fn open(golden: Tiny, device: B::Device, storage: Storage) -> Result<Self, LoadError> {
        let config = golden.config();
        let (model, _) = Model::load(&config, &golden.checkpoint(), storage, &device, |_| ())?;
        Ok(Self { golden, config, model, device, storage })
    }

    /// The allowed error of a value against the reference.
    pub(crate) fn tolerance(&self) -> f32 {
        self.tolerance_of(Quantity::Reference)
    }

    /// The allowed error of a quantity.
    pub(crate) fn tolerance_of(&self, quantity: Quantity) -> f32 {
        tolerance(self.golden, Dtype::from(self.storage), quantity)
    }

    /// Two ways of ours to the same values.
    pub(crate) fn same(&self, what: impl Into<String>, one: &[f32], other: &[f32]) -> Measured {
        Measured::difference(what, one, other, self.tolerance_of(Quantity::OwnTwoWays))
    }

    /// The pictures of a case, `[I, 3, H, W]`.
    pub(crate) fn pixels(&self, case: &str) -> Tensor<B, 4> {
        let key = format!("{case}.in.pixel_values");
        let data = TensorData::new(self.golden.floats(&key), self.golden.shape(&key));
        Tensor::from_data(data, (&self.device, self.storage.activations()))
    }

    /// Features of each row's pictures, `[1, N, D]`; a row's pictures follow each other.
    pub(crate) fn features(&self, case: &str) -> Vec<Tensor<B, 3>> {
        let features = self.model.encode(self.pixels(case));
        let [pictures, patches, width] = features.dims();
        let all = features.reshape([1, pictures * patches, width]);
        let mut start = 0;
        let row = |row: &Row| {
            let slots = start..start + row.pictures.len();
            start = slots.end;
            all.clone().slice([0..1, slots, 0..width])
        };
        self.golden.rows(case).iter().map(row).collect()
    }

    /// The rows of a case as prompts, without the reference's padding.
    pub(crate) fn prompts(&self, case: &str) -> Vec<Prompt<B>> {
        let rows = self.golden.rows(case);
        let features = self.features(case).into_iter();
        let prompt =
            |(features, row): (_, Row)| Prompt { features: Some(features), text: row.prefix() };
        features.zip(rows).map(prompt).collect()
    }

    /// The decoder's input slot by slot as the reference was given it, `[R, L, D]`.
    pub(crate) fn embeds(&self, case: &str) -> Tensor<B, 3> {
        let rows = self.golden.rows(case);
        let row = |(row, features): (&Row, Tensor<B, 3>)| {
            let [before, after] =
                [&row.tokens[..row.pictures.start], &row.tokens[row.pictures.end..]];
            let text = |tokens: &[u32]| self.model.language_model().embed(self.ids(tokens));
            let mut parts = vec![features, text(after)];
            if !before.is_empty() {
                parts.insert(0, text(before));
            }
            Tensor::cat(parts, 1)
        };
        Tensor::cat(rows.iter().zip(self.features(case)).map(row).collect(), 0)
    }

    /// One row of token ids, `[1, L]`.
    pub(crate) fn ids(&self, tokens: &[u32]) -> Tensor<B, 2, Int> {
        let ids: Vec<i64> = tokens.iter().map(|&id| i64::from(id)).collect();
        let shape = [1, ids.len()];
        Tensor::from_data(TensorData::new(ids, shape), &self.device)
    }

    /// Logits of every slot of a case in the reference's own layout, under `mask`.
    pub(crate) fn logits_under(&self, case: &str, mask: &PrefixMask) -> Vec<f32> {
        let hidden = self.model.language_model().forward(self.embeds(case), mask, None);
        values(self.model.language_model().logits(hidden))
    }

    /// Logits of every slot of a case in the reference's own layout.
    pub(crate) fn logits(&self, case: &str) -> Vec<f32> {
        self.logits_under(case, &mask(&self.golden.rows(case)))
    }
}

/// The mask of a case in the reference's own layout.
pub(crate) fn mask(rows: &[Row]) -> PrefixMask {
    PrefixMask::new(rows.iter().map(|row| row.kinds.clone()).collect())
}

/// The values of a tensor as f32.
pub(crate) fn values<B: NnBackend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// The flags of a tensor.
pub(crate) fn flags<B: NnBackend, const D: usize>(tensor: Tensor<B, D, Bool>) -> Vec<bool> {
    tensor.into_data().iter::<bool>().collect()
}

/// Of `values`, `[R, L, W]`, those in slots that hold a token; what stands in padding is nobody's.
pub(crate) fn without_padding<T: Copy>(values: &[T], rows: &[Row]) -> Vec<T> {
    let length = rows[0].kinds.len();
    let width = values.len() / (rows.len() * length);
    let slots = rows.iter().enumerate().flat_map(|(row, content)| {
        content.slots().into_iter().map(move |slot| (row * length + slot) * width)
    });
    slots.flat_map(|start| values[start..start + width].iter().copied()).collect()
}

/// `log softmax(logits)[token]`, in f64.
pub(crate) fn log_probability(logits: &[f32], token: u32) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    (f64::from(logits[token as usize] - largest) - sum.ln()) as f32
}

/// The token of the largest logit, but for one that may not be chosen.
pub(crate) fn best(logits: &[f32], never: Option<u32>) -> u32 {
    let allowed = |(id, _): &(usize, &f32)| never.is_none_or(|never| *id != never as usize);
    let best = logits.iter().enumerate().filter(allowed).max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(id, _)| id as u32)
}
