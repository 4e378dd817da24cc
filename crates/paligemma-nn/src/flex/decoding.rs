//! Attention at one position: heads that share keys and values read them once, where they lie.

use burn::tensor::{DType, Shape};
use burn_flex::FlexTensor;
use paligemma_packed::math::vectorised;
use rayon::prelude::*;

use super::attention::{Heads, Problem, soften};
use super::output;
use super::vector::long_dot;

/// Keys whose values stay in the first cache while the heads pass over them.
const BLOCK: usize = 16;

/// Channels that stay in registers while the values of a block are added.
const CHANNELS: usize = 64;

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
                    // What is hidden becomes the mask's score, whatever its product.
                    if masked.is_some_and(|masked| masked[slot] != 0) {
                        continue;
                    }
                    for head in 0..together {
                        scores[head * keys + slot] = long_dot(query(head), key(slot));
                    }
                }
                for scores in scores.chunks_exact_mut(keys) {
                    soften(scores, masked, problem.scoring);
                }
                for first in (0..keys).step_by(BLOCK) {
                    let slots = first..(first + BLOCK).min(keys);
                    for (head, mixed) in mixed.chunks_exact_mut(width).enumerate() {
                        let weights = &scores[head * keys..][slots.clone()];
                        let rows = || slots.clone().map(value).zip(weights);
                        add_weighted(mixed, rows);
                    }
                }
            },
        );
    });
    output(mixed, Shape::from([batch, 1, heads, width]), dtype)
}

/// Adds rows times their weights, as many channels at a time as registers hold.
#[inline(always)]
fn add_weighted<'a, I>(mixed: &mut [f32], rows: impl Fn() -> I)
where
    I: Iterator<Item = (&'a [f32], &'a f32)>,
{
    let (chunks, rest) = mixed.as_chunks_mut::<CHANNELS>();
    let done = chunks.len() * CHANNELS;
    for (at, mixed) in chunks.iter_mut().enumerate() {
        let mut sums = *mixed;
        for (row, &weight) in rows() {
            let (row, _) = row.as_chunks::<CHANNELS>();
            for (sum, &value) in sums.iter_mut().zip(&row[at]) {
                *sum += weight * value;
            }
        }
        *mixed = sums;
    }
    for (row, &weight) in rows() {
        for (mixed, &value) in rest.iter_mut().zip(&row[done..]) {
            *mixed += weight * value;
        }
    }
}
