//! Attention at one position: heads that share keys and values read them once, where they lie.

use burn::tensor::{DType, Shape};
use burn_flex::FlexTensor;
use paligemma_packed::math::vectorised;
use rayon::prelude::*;

use super::attention::{Heads, Problem, soften};
use super::output;

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
        problem.products(query.across(row, kv_head * together), key.head(row, kv_head), scores);
        let masked = problem.masked(row);
        vectorised(
            #[inline(always)]
            || {
                for scores in scores.chunks_exact_mut(keys) {
                    soften(scores, masked, problem.scoring);
                }
            },
        );
        problem.mix(scores, value.head(row, kv_head), mixed);
    });
    output(mixed, Shape::from([batch, 1, heads, width]), dtype)
}
