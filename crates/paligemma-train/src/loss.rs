//! The loss of transfer: cross-entropy on the answer alone.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};
use paligemma::Model;
use paligemma_nn::NnBackend;

use crate::Rows;

/// Cross-entropy of the answers and their `<eos>`, mean per example, then over the batch.
///
/// The prompt is never predicted, and the mask comes from the one engine that generation uses
/// (big_vision `train.py`, `loss_fn`). Only the slots that predict an answer token meet the head.
///
/// # Shapes
/// - `features`: `[I, N, D]`, one entry per picture of the batch
/// - output: `[1]`
pub fn suffix_loss<B: NnBackend>(
    model: &Model<B>,
    features: Tensor<B, 3>,
    rows: &Rows,
    pad: u32,
) -> Tensor<B, 1> {
    let device = features.device();
    let count = features.dims()[1];
    let features = features.select(0, rows.pictures(&device));
    let embeds = model.embed(features, rows.ids(pad, &device));
    let hidden = model.language_model().forward(embeds, &rows.mask(count), None);

    let targets = rows.targets(count);
    let total = targets.tokens.len();
    let ints = |values: Vec<i64>| {
        Tensor::<B, 1, Int>::from_data(TensorData::new(values, [total]), &device)
    };
    let [batch, length, width] = hidden.dims();
    let hidden = hidden.reshape([batch * length, width]).select(0, ints(targets.slots));
    let logits = model.language_model().logits(hidden.reshape([1, total, width]));
    let vocabulary = logits.dims()[2];
    let chosen = log_softmax(logits.reshape([total, vocabulary]), 1)
        .gather(1, ints(targets.tokens).reshape([total, 1]))
        .reshape([total]);
    let weights = TensorData::new(targets.weights, [total]);
    (chosen * Tensor::from_data(weights, &device)).sum().neg()
}
