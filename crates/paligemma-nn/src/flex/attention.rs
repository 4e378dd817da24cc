//! Grouped softmax attention: a task per head, keys and values read where they lie.

use burn::tensor::ops::BoolTensor;
use burn::tensor::{DType, Shape};
use burn_flex::{Flex, FlexTensor};
use paligemma_packed::dense::{self, Matrix, Target};
use paligemma_packed::math::{MASKED_SCORE, exp_or_zero, tanh, vectorised};
use paligemma_packed::{Rows, Scoring, TileKeys};
use rayon::prelude::*;

use super::vector::dot;
use super::{Float, Values, decoding, output};
use crate::{AttentionGradients, Precision};

/// Rows from which a product is one of `dense`; fewer are left to a crate that does not pack what it
/// reads, unless `dense` does not either.
const ROWS: usize = 16;

/// Writes a row of a head.
fn write(target: Target, row: usize, values: &[f32]) {
    let at = target.start.wrapping_add(row * target.row);
    #[expect(unsafe_code, reason = "tasks write disjoint heads of one allocation")]
    // SAFETY: the row is one of the head's, which has room for its channels.
    unsafe {
        std::ptr::copy_nonoverlapping(values.as_ptr(), at, values.len());
    }
}

/// `target (+)= a b` on the calling thread, `[m, k] x [k, n]`.
fn multiply([m, n, k]: [usize; 3], a: Matrix<'_>, b: Matrix<'_>, target: Target, add: bool) {
    let reach = |matrix: Matrix<'_>, rows: usize, columns: usize| {
        (rows - 1) * matrix.row + (columns - 1) * matrix.column < matrix.values.len()
    };
    assert!(m > 0 && n > 0 && k > 0 && reach(a, m, k) && reach(b, k, n), "operand out of bounds");
    #[expect(unsafe_code, reason = "products take pointers and strides")]
    // SAFETY: both operands lie in their slices as asserted; the target is a head of the output
    // buffer (or a scratch matrix) with room for m rows of its stride.
    unsafe {
        if m >= ROWS || dense::in_place(m, a, b, add) {
            dense::multiply([m, k, n], a, b, target, add);
            return;
        }
        gemm::gemm(
            m,
            n,
            k,
            target.start,
            1,
            target.row as isize,
            add,
            a.values.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.values.as_ptr(),
            b.column as isize,
            b.row as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// A `[B, L, H, C]` tensor whose channels lie together, wherever its heads and rows are.
pub(super) struct Heads {
    tensor: FlexTensor,
    strides: [usize; 3],
}

impl Heads {
    fn new(tensor: FlexTensor) -> Self {
        let tensor = if tensor.dtype() == DType::F32 { tensor } else { Values::new(tensor).0 };
        let forward = |tensor: &FlexTensor| tensor.layout().strides().iter().all(|&s| s >= 0);
        let together = tensor.layout().strides()[3] == 1 && forward(&tensor);
        let tensor = if together { tensor } else { tensor.to_contiguous() };
        let strides = tensor.layout().strides();
        let strides = [strides[0] as usize, strides[1] as usize, strides[2] as usize];
        Self { tensor, strides }
    }

    fn shape(&self) -> [usize; 4] {
        let shape = self.tensor.layout().shape();
        [shape[0], shape[1], shape[2], shape[3]]
    }

    /// Head `head` of batch row `row`, `[L, C]`, for tiles.
    fn tile_rows(&self, row: usize, head: usize, count: usize) -> Rows<'_> {
        let Matrix { values, row: stride, .. } = self.head(row, head);
        Rows { values, stride, count }
    }

    /// The only position of batch row `row` in the heads from `head` on, `[H, C]`.
    pub(super) fn across(&self, row: usize, head: usize) -> Matrix<'_> {
        Matrix { row: self.strides[2], ..self.head(row, head) }
    }

    /// Head `head` of batch row `row`, `[L, C]`.
    pub(super) fn head(&self, row: usize, head: usize) -> Matrix<'_> {
        let [batch, length, heads] = self.strides;
        let start = self.tensor.layout().start_offset() + row * batch + head * heads;
        Matrix { values: &self.tensor.storage::<f32>()[start..], row: length, column: 1 }
    }
}

/// The sizes of one call, and the mask rows.
pub(super) struct Problem {
    pub(super) batch: usize,
    length: usize,
    pub(super) heads: usize,
    pub(super) width: usize,
    pub(super) keys: usize,
    pub(super) kv_heads: usize,
    masked: Option<FlexTensor>,
    pub(super) scoring: Scoring,
}

impl Problem {
    /// # Panics
    /// If the operands do not fit each other: what is written without checks relies on it.
    fn new(
        [query, key, value]: [&Heads; 3],
        masked: Option<BoolTensor<Flex>>,
        scoring: Scoring,
    ) -> Self {
        let [batch, length, heads, width] = query.shape();
        let [_, keys, kv_heads, _] = key.shape();
        let fit = key.shape() == [batch, keys, kv_heads, width] && value.shape() == key.shape();
        assert!(fit, "queries, keys and values do not fit each other");
        let shared = kv_heads > 0 && heads.is_multiple_of(kv_heads);
        assert!(shared, "{heads} heads cannot share {kv_heads} of keys and values");
        let masked = masked.map(|masked| masked.to_contiguous());
        Self { batch, length, heads, width, keys, kv_heads, masked, scoring }
    }

    fn kv_head(&self, head: usize) -> usize {
        head * self.kv_heads / self.heads
    }

    /// The mask of a batch row, `[L, S]`.
    pub(super) fn masked(&self, row: usize) -> Option<&[u8]> {
        let masked = self.masked.as_ref()?;
        let rows = self.length * self.keys;
        Some(&masked.storage::<u8>()[masked.layout().start_offset() + row * rows..][..rows])
    }

    /// Attention on matrix tiles, if the machine has them and there is enough to do.
    fn on_tiles(&self, [query, key, value]: [&Heads; 3], all: Target) -> bool {
        let (length, width) = (self.length, self.width);
        let tiles = |task: usize| {
            let (row, head) = (task / self.kv_heads, task % self.kv_heads);
            let [key, value] = [key, value].map(|x| x.tile_rows(row, head, self.keys));
            TileKeys::new(key, value, width, length)
        };
        let tiles: Option<Vec<_>> =
            (0..self.batch * self.kv_heads).into_par_iter().map(tiles).collect();
        let Some(tiles) = tiles else { return false };
        (0..self.batch * self.heads).into_par_iter().for_each(|task| {
            let (row, head) = (task / self.heads, task % self.heads);
            let target = self.head_target(all, length, row, head);
            let query = query.tile_rows(row, head, length);
            let keys = &tiles[row * self.kv_heads + self.kv_head(head)];
            let write = |i: usize, values: &[f32]| write(target, i, values);
            keys.attend(query, self.masked(row), self.scoring, write);
        });
        true
    }

    /// Products of queries, one head's or one position's, and keys, `[L, S]`, into `scores`.
    pub(super) fn products(&self, query: Matrix<'_>, key: Matrix<'_>, scores: &mut [f32]) {
        let target = Target { start: scores.as_mut_ptr(), row: self.keys };
        let rows = scores.len() / self.keys;
        multiply([rows, self.keys, self.width], query, key.transposed(), target, false);
    }

    /// Products of one head to softmax probabilities.
    fn probabilities(&self, row: usize, products: &mut [f32]) {
        let masked = self.masked(row);
        vectorised(
            #[inline(always)]
            || {
                for (i, products) in products.chunks_exact_mut(self.keys).enumerate() {
                    let masked = masked.map(|masked| &masked[i * self.keys..][..self.keys]);
                    soften(products, masked, self.scoring);
                }
            },
        );
    }

    /// Room for `[B, length, heads, C]`, and where it begins.
    fn room(&self, length: usize, heads: usize) -> (Vec<f32>, Target) {
        let row = heads * self.width;
        let mut values = Vec::with_capacity(self.batch * length * row);
        let start = values.as_mut_ptr();
        (values, Target { start, row })
    }

    /// Values of one head, or one position's, by weights `[L, S]`, into `mixed`.
    pub(super) fn mix(&self, weights: &[f32], value: Matrix<'_>, mixed: &mut [f32]) {
        let target = Target { start: mixed.as_mut_ptr(), row: self.width };
        let rows = mixed.len() / self.width;
        multiply(
            [rows, self.width, self.keys],
            Matrix::rows(weights, self.keys),
            value,
            target,
            false,
        );
    }

    /// The target of one head in a `[B, length, heads, C]` buffer.
    fn head_target(&self, all: Target, length: usize, row: usize, head: usize) -> Target {
        let offset = row * length * all.row + head * self.width;
        // `wrapping_add`: the pointer stays inside the buffer by construction of the offset.
        Target { start: all.start.wrapping_add(offset), ..all }
    }
}

/// Products of a query with all keys to softmax probabilities.
#[inline(always)]
pub(super) fn soften(products: &mut [f32], masked: Option<&[u8]>, scoring: Scoring) {
    scoring.apply(products);
    if let Some(masked) = masked {
        for (score, &masked) in products.iter_mut().zip(masked) {
            *score = if masked == 0 { *score } else { MASKED_SCORE };
        }
    }
    softmax(products);
}

#[inline(always)]
fn softmax(scores: &mut [f32]) {
    let (chunks, rest) = scores.as_chunks::<16>();
    let mut lanes = [f32::NEG_INFINITY; 16];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &score)| *lane = lane.max(score));
    }
    let highest = lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    for score in scores.iter_mut() {
        *score = exp_or_zero(*score - highest);
    }
    let factor = super::vector::sum(scores).recip();
    for score in scores.iter_mut() {
        *score *= factor;
    }
}

/// A tensor of room that tasks have filled.
fn written(mut values: Vec<f32>, shape: Shape, dtype: DType) -> FlexTensor {
    let count = shape.num_elements();
    assert!(values.capacity() >= count, "the room is too small");
    #[expect(unsafe_code, reason = "tasks have written it through targets")]
    // SAFETY: there is room, and every head of every row was written.
    unsafe {
        values.set_len(count);
    }
    output(values, shape, dtype)
}

pub(super) fn attention(
    query: Float,
    key: Float,
    value: Float,
    masked: Option<BoolTensor<Flex>>,
    scoring: Scoring,
    precision: Precision,
) -> Float {
    let dtype = query.dtype();
    let (query, key, value) = (Heads::new(query), Heads::new(key), Heads::new(value));
    let problem = Problem::new([&query, &key, &value], masked, scoring);
    if query.shape()[1] == 1 {
        return decoding::attention(&problem, [&query, &key, &value], dtype);
    }
    let Problem { batch, length, heads, width, keys, .. } = problem;
    let (values, all) = problem.room(length, heads);
    let shape = Shape::from([batch, length, heads, width]);
    if precision == Precision::Bf16 && problem.on_tiles([&query, &key, &value], all) {
        return written(values, shape, dtype);
    }
    (0..batch * heads).into_par_iter().for_each_init(Vec::new, |scores, task| {
        let (row, head) = (task / heads, task % heads);
        let kv_head = problem.kv_head(head);
        scores.resize(length * keys, 0.0);
        problem.products(query.head(row, head), key.head(row, kv_head), scores);
        problem.probabilities(row, scores);
        let weights = Matrix { values: scores, row: keys, column: 1 };
        let target = problem.head_target(all, length, row, head);
        multiply([length, width, keys], weights, value.head(row, kv_head), target, false);
    });
    written(values, shape, dtype)
}

/// Gradients for query, key and value from `[query, key, value, output gradient]`.
pub(super) fn attention_backward(
    operands: [Float; 4],
    masked: Option<BoolTensor<Flex>>,
    scoring: Scoring,
) -> AttentionGradients<Flex> {
    let dtype = operands[0].dtype();
    let [query, key, value, grad] = operands.map(Heads::new);
    let problem = Problem::new([&query, &key, &value], masked, scoring);
    let Problem { batch, length, heads, width, keys, kv_heads, .. } = problem;
    assert_eq!(grad.shape(), query.shape(), "the gradient has another shape");
    let (query_grad, query_target) = problem.room(length, heads);
    let (key_grad, key_target) = problem.room(keys, kv_heads);
    let (value_grad, value_target) = problem.room(keys, kv_heads);
    let groups = heads / kv_heads;
    // A task per key-value head: the query heads that share it add to its gradient in order.
    (0..batch * kv_heads).into_par_iter().for_each_init(
        <[Vec<f32>; 3]>::default,
        |scratch, task| {
            let (row, kv_head) = (task / kv_heads, task % kv_heads);
            let [scores, weights, slopes] = scratch;
            scores.resize(length * keys, 0.0);
            weights.resize(length * keys, 0.0);
            let key_target = problem.head_target(key_target, keys, row, kv_head);
            let value_target = problem.head_target(value_target, keys, row, kv_head);
            for head in kv_head * groups..(kv_head + 1) * groups {
                let (query, grad) = (query.head(row, head), grad.head(row, head));
                let (key, value) = (key.head(row, kv_head), value.head(row, kv_head));
                problem.products(query, key, scores);
                softcap_slopes(scores, scoring, slopes);
                problem.probabilities(row, scores);
                let matrix = |values| Matrix { values, row: keys, column: 1 };
                let add = head % groups != 0;
                multiply(
                    [keys, width, length],
                    matrix(scores).transposed(),
                    grad,
                    value_target,
                    add,
                );
                let weight_target = Target { start: weights.as_mut_ptr(), row: keys };
                multiply([length, keys, width], grad, value.transposed(), weight_target, false);
                let masked = problem.masked(row);
                vectorised(
                    #[inline(always)]
                    || softmax_backward(scores, weights, slopes, masked, keys, scoring.scale),
                );
                let query_target = problem.head_target(query_target, length, row, head);
                multiply([length, width, keys], matrix(weights), key, query_target, false);
                multiply(
                    [keys, width, length],
                    matrix(weights).transposed(),
                    query,
                    key_target,
                    add,
                );
            }
        },
    );
    let heads_of = |length, heads| Shape::from([batch, length, heads, width]);
    AttentionGradients {
        query: written(query_grad, heads_of(length, heads), dtype),
        key: written(key_grad, heads_of(keys, kv_heads), dtype),
        value: written(value_grad, heads_of(keys, kv_heads), dtype),
    }
}

/// Gradient of the products, in place of the gradient of the probabilities; `slopes` are those of
/// the soft cap, if there is one. What is masked has none, also where all is, and the probabilities
/// are not zero.
#[inline(always)]
fn softmax_backward(
    probabilities: &[f32],
    gradient: &mut [f32],
    slopes: &[f32],
    masked: Option<&[u8]>,
    keys: usize,
    scale: f32,
) {
    let rows = probabilities.chunks_exact(keys).zip(gradient.chunks_exact_mut(keys));
    for (probabilities, gradient) in rows {
        let along = dot(probabilities, gradient);
        for (gradient, &probability) in gradient.iter_mut().zip(probabilities) {
            *gradient = probability * (*gradient - along) * scale;
        }
    }
    for (gradient, slope) in gradient.iter_mut().zip(slopes) {
        *gradient *= slope;
    }
    for (gradient, &masked) in gradient.iter_mut().zip(masked.unwrap_or_default()) {
        *gradient = if masked == 0 { *gradient } else { 0.0 };
    }
}

/// The derivative of the soft cap, `1 - tanh(scale x)^2`, at each product; none without one.
fn softcap_slopes(products: &[f32], scoring: Scoring, slopes: &mut Vec<f32>) {
    let Some(cap) = scoring.softcap else { return slopes.clear() };
    let scale = scoring.scale / cap;
    slopes.resize(products.len(), 0.0);
    vectorised(
        #[inline(always)]
        || {
            for (slope, &product) in slopes.iter_mut().zip(products) {
                let bent = tanh(product * scale);
                *slope = 1.0 - bent * bent;
            }
        },
    );
}
