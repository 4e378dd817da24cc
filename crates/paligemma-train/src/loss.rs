//! The loss of transfer: cross-entropy on the answer alone.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};
use paligemma::Model;
use paligemma_gemma::Gemma;
use paligemma_nn::NnBackend;
use serde::{Deserialize, Serialize};

use crate::Rows;
use crate::batch::Targets;

/// Over what the mean of a batch is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mean {
    /// Over each answer, then over the examples: a long answer counts as much as a short one, as in
    /// the published recipe (big_vision `trainers/proj/paligemma/train.py`, `loss_fn`).
    #[default]
    Examples,
    /// Over all answer tokens of a batch, as transformers does.
    Tokens,
}

/// What is minimised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// The share of a target's probability that is spread over the `V - 1` other tokens.
    pub label_smoothing: f64,
    /// Over what the mean of a batch is taken.
    pub mean: Mean,
}

/// The loss of a batch, with one graph of all of it. The prompt is never predicted, and the mask
/// comes from the one engine that generation uses; only slots that predict an answer token meet the
/// head.
///
/// # Shapes
/// - `features`: `[I, N, D]`, one entry per picture of the batch
/// - output: `[1]`
pub fn suffix_loss<B: NnBackend>(
    model: &Model<B>,
    features: Tensor<B, 3>,
    rows: &Rows,
    pad: u32,
    loss: Loss,
) -> Tensor<B, 1> {
    let device = features.device();
    let count = features.dims()[1];
    let embeds = model.embed(rows.features(features), rows.ids(pad, &device));
    let hidden = model.language_model().forward(embeds, &rows.mask(count), None);
    hidden_loss(model.language_model(), hidden, rows, count, loss)
}

/// [`suffix_loss`] of a batch whose hidden states are known, where a picture has `count` tokens.
///
/// # Shapes
/// - `hidden`: `[B, L, D]`, normed
/// - output: `[1]`
pub fn hidden_loss<B: NnBackend>(
    decoder: &Gemma<B>,
    hidden: Tensor<B, 3>,
    rows: &Rows,
    count: usize,
    loss: Loss,
) -> Tensor<B, 1> {
    let targets = rows.targets(count, loss.mean);
    answer_loss(decoder, predicting(hidden, &targets), &targets, loss)
}

/// The hidden states that predict an answer token.
///
/// # Shapes
/// - `hidden`: `[B, L, D]`
/// - output: `[T, D]`, `T` answer tokens
pub(crate) fn predicting<B: NnBackend>(hidden: Tensor<B, 3>, targets: &Targets) -> Tensor<B, 2> {
    let [batch, length, width] = hidden.dims();
    let slots = ints(&targets.slots, &hidden.device());
    hidden.reshape([batch * length, width]).select(0, slots)
}

/// The weighted cross-entropy of answer tokens, label smoothing as published: `1 - e` on the target
/// and `e / (V - 1)` on every other token.
///
/// # Shapes
/// - `hidden`: `[T, D]`, normed
/// - output: `[1]`
pub(crate) fn answer_loss<B: NnBackend>(
    decoder: &Gemma<B>,
    hidden: Tensor<B, 2>,
    targets: &Targets,
    loss: Loss,
) -> Tensor<B, 1> {
    let device = hidden.device();
    let total = targets.tokens.len();
    let logits = decoder.logits(hidden.unsqueeze::<3>()).squeeze_dim::<2>(0);
    let vocabulary = logits.dims()[1];
    let log_probabilities = log_softmax(logits, 1);
    let tokens = ints(&targets.tokens, &device).reshape([total, 1]);
    let chosen = log_probabilities.clone().gather(1, tokens).reshape([total]);
    let expected = if loss.label_smoothing > 0.0 {
        let spread = loss.label_smoothing / (vocabulary - 1) as f64;
        let all = log_probabilities.sum_dim(1).reshape([total]);
        chosen * (1.0 - loss.label_smoothing - spread) + all * spread
    } else {
        chosen
    };
    let weights = TensorData::new(targets.weights.clone(), [total]);
    let weights = Tensor::from_data(weights, (&device, expected.dtype()));
    (expected * weights).sum().neg()
}

fn ints<B: NnBackend>(values: &[i64], device: &B::Device) -> Tensor<B, 1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}
