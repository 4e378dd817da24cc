//! Attention at one position: heads that share keys and values read them once, where they lie.

use burn::tensor::{DType, Shape};
use burn_flex::FlexTensor;
use paligemma_packed::math::vectorised;
use rayon::prelude::*;

use super::attention::{Heads, Problem, soften};
use super::output;

/// Keys whose values stay in the first cache while the heads pass over them.
const BLOCK: usize = 16;
/// Values whose sums stay in registers: four of the widest vectors.
const WIDE: usize = 64;

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
        let value = value.head(row, kv_head);
        let value = |slot: usize| &value.values[slot * value.row..][..width];
        let masked = problem.masked(row);
        vectorised(
            #[inline(always)]
            || {
                for scores in scores.chunks_exact_mut(keys) {
                    soften(scores, masked, problem.scoring);
                }
                for first in (0..keys).step_by(BLOCK) {
                    let slots = first..(first + BLOCK).min(keys);
                    for (head, mixed) in mixed.chunks_exact_mut(width).enumerate() {
                        let weights = &scores[head * keys..][slots.clone()];
                        add_weighted(mixed, weights, slots.clone().map(value));
                    }
                }
            },
        );
    });
    output(mixed, Shape::from([batch, 1, heads, width]), dtype)
}

/// `mixed += sum of weight * value`.
#[inline(always)]
fn add_weighted<'a>(
    mixed: &mut [f32],
    weights: &[f32],
    values: impl Iterator<Item = &'a [f32]> + Clone,
) {
    let (wide, narrow) = mixed.as_chunks_mut::<WIDE>();
    let done = WIDE * wide.len();
    for (at, mixed) in wide.iter_mut().enumerate() {
        let mut sums = *mixed;
        for (&weight, value) in weights.iter().zip(values.clone()) {
            let (value, _) = value.as_chunks::<WIDE>();
            for (sum, value) in sums.iter_mut().zip(&value[at]) {
                *sum += weight * value;
            }
        }
        *mixed = sums;
    }
    for (&weight, value) in weights.iter().zip(values) {
        for (mixed, value) in narrow.iter_mut().zip(&value[done..]) {
            *mixed += weight * value;
        }
    }
}
