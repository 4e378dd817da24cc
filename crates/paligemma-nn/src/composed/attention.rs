//! Grouped softmax attention and its gradients in burn's operations.
//!
//! Heads that share keys are folded into the query rows, so keys and values are never repeated.

use burn::tensor::ops::{BoolTensor, FloatTensor};
use burn::tensor::{Bool, DType, Tensor, activation::softmax};
use burn_backend::Backend;
use paligemma_packed::math::MASKED_SCORE;

use super::product::matmul;
use super::{cast, primitive, tensor, upcast};
use crate::{AttentionGradients, NnBackend, Scoring, softcap};

/// `[B, L, H, C]` to `[B, K, G * L, C]`, where `H = K * G`.
fn fold<B: Backend>(x: Tensor<B, 4>, groups: usize) -> Tensor<B, 4> {
    let [batch, length, heads, width] = x.dims();
    x.reshape([batch, length, heads / groups, groups, width]).permute([0, 2, 3, 1, 4]).reshape([
        batch,
        heads / groups,
        groups * length,
        width,
    ])
}

/// The inverse of [`fold`].
fn unfold<B: Backend>(x: Tensor<B, 4>, groups: usize) -> Tensor<B, 4> {
    let [batch, kv_heads, rows, width] = x.dims();
    let length = rows / groups;
    x.reshape([batch, kv_heads, groups, length, width]).permute([0, 3, 1, 2, 4]).reshape([
        batch,
        length,
        kv_heads * groups,
        width,
    ])
}

/// Scores in f32, `[B, K, G * L, S]`, of folded queries against keys.
fn scores<B: NnBackend>(query: Tensor<B, 4>, key: Tensor<B, 4>, scoring: Scoring) -> Tensor<B, 4> {
    let scores = cast(matmul(query, key.transpose()), DType::F32).mul_scalar(scoring.scale);
    match scoring.softcap {
        None => scores,
        Some(cap) => softcap(scores, f64::from(cap)),
    }
}

/// Softmax probabilities of scores, where these are not masked.
fn probabilities<B: Backend>(scores: Tensor<B, 4>, masked: Option<BoolTensor<B>>) -> Tensor<B, 4> {
    let scores = match masked {
        None => scores,
        Some(masked) => mask_scores(scores, masked, MASKED_SCORE),
    };
    softmax(scores, 3)
}

/// `value` where a query must not attend.
fn mask_scores<B: Backend>(
    scores: Tensor<B, 4>,
    masked: BoolTensor<B>,
    value: f32,
) -> Tensor<B, 4> {
    let masked = Tensor::<B, 3, Bool>::new(masked);
    let [batch, kv_heads, rows, keys] = scores.dims();
    let length = masked.dims()[1];
    let groups = rows / length;
    let masked =
        masked.reshape([batch, 1, 1, length, keys]).expand([batch, kv_heads, groups, length, keys]);
    scores
        .reshape([batch, kv_heads, groups, length, keys])
        .mask_fill(masked, value)
        .reshape([batch, kv_heads, rows, keys])
}

/// See [`crate::NnBackend::grouped_attention`].
pub(crate) fn attention<B: NnBackend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    masked: Option<BoolTensor<B>>,
    scoring: Scoring,
) -> FloatTensor<B> {
    let query = tensor::<B, 4>(query);
    let key = tensor::<B, 4>(key).swap_dims(1, 2);
    let value = tensor::<B, 4>(value).swap_dims(1, 2);
    let groups = query.dims()[2] / key.dims()[1];
    let probabilities = probabilities(scores(fold(query, groups), key, scoring), masked);
    let probabilities = cast(probabilities, value.dtype());
    primitive(unfold(matmul(probabilities, value), groups))
}

/// See [`crate::NnBackend::grouped_attention_backward`].
pub(crate) fn attention_backward<B: NnBackend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    masked: Option<BoolTensor<B>>,
    scoring: Scoring,
    grad: FloatTensor<B>,
) -> AttentionGradients<B> {
    let (query, dtype) = upcast::<B, 4>(query);
    let key = upcast::<B, 4>(key).0.swap_dims(1, 2);
    let value = upcast::<B, 4>(value).0.swap_dims(1, 2);
    let groups = query.dims()[2] / key.dims()[1];
    let query = fold(query, groups);
    let grad = fold(upcast::<B, 4>(grad).0, groups);
    let scores = scores(query.clone(), key.clone(), scoring);
    let probabilities = probabilities(scores.clone(), masked.clone());
    let value_grad = matmul(probabilities.clone().transpose(), grad.clone());
    let weight_grad = matmul(grad, value.transpose());
    let along = (weight_grad.clone() * probabilities.clone()).sum_dim(3);
    let score_grad = (probabilities * (weight_grad - along)).mul_scalar(scoring.scale);
    let score_grad = match scoring.softcap {
        None => score_grad,
        // The derivative of `tanh` is `1 - tanh^2`.
        Some(cap) => score_grad * scores.div_scalar(cap).powi_scalar(2).neg().add_scalar(1.0),
    };
    // A query to which all is masked has probabilities, and no gradient all the same.
    let score_grad = match masked {
        None => score_grad,
        Some(masked) => mask_scores(score_grad, masked, 0.0),
    };
    let key_grad = matmul(score_grad.clone().transpose(), query);
    let query_grad = matmul(score_grad, key);
    AttentionGradients {
        query: primitive(cast(unfold(query_grad, groups), dtype)),
        key: primitive(cast(key_grad.swap_dims(1, 2), dtype)),
        value: primitive(cast(value_grad.swap_dims(1, 2), dtype)),
    }
}
