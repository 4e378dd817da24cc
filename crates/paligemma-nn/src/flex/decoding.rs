//! Attention at one position: heads that share keys and values read them once, where they lie.

use burn::tensor::{DType, Shape};
use burn_flex::FlexTensor;
use paligemma_packed::math::vectorised;
use rayon::prelude::*;

use super::attention::{Heads, Problem, soften};
use super::output;
use super::vector::dot;

/// Keys whose values stay in the first cache while the heads pass over them.
const BLOCK: usize = 16;

/// `[B, 1, H, C]`, a task per row and key-value head.
pub(super) fn attention(
    problem: &Problem,
    [query, key, value]: [&Heads; 3],
    dtype: DType,
) -> FlexTensor {
    let Problem { batch, heads, width, keys, kv_heads, .. } = *problem;
    let together = heads / kv_heads;
    let mut mixed = vec![0.0; batch * heads * width];
    let tasks = mixed.par_chunks_mut(together * width).enumerate();
    tasks.for_each_init(Vec::new, |scores, (task, mixed)| {
        let (row, kv_head) = (task / kv_heads, task % kv_heads);
        scores.resize(together * keys, 0.0);
        let query = |head: usize| &query.head(row, kv_head * together + head).values[..width];
        let key = key.head(row, kv_head);
        let value = value.head(row, kv_head);
        let key = |slot: usize| &key.values[slot * key.row..][..width];
        let value = |slot: usize| &value.values[slot * value.row..][..width];
        let masked = problem.masked(row);
        vectorised(
            #[inline(always)]
            || {
                for slot in 0..keys {
                    let hidden = masked.is_some_and(|masked| masked[slot] != 0);
                    for head in 0..together {
                        let product = if hidden { 0.0 } else { dot(query(head), key(slot)) };
                        scores[head * keys + slot] = product;
                    }
                }
                for scores in scores.chunks_exact_mut(keys) {
                    soften(scores, masked, problem.scoring);
                }
                for first in (0..keys).step_by(BLOCK) {
                    for (head, mixed) in mixed.chunks_exact_mut(width).enumerate() {
                        for slot in first..(first + BLOCK).min(keys) {
                            let weight = scores[head * keys + slot];
                            for (mixed, &value) in mixed.iter_mut().zip(value(slot)) {
                                *mixed += weight * value;
                            }
                        }
                    }
                }
            },
        );
    });
    output(mixed, Shape::from([batch, 1, heads, width]), dtype)
}
