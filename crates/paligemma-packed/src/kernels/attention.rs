//! Attention on matrix tiles: 32 queries at a time to all keys, softmax between two products.
#![expect(unsafe_code, reason = "instructions of the machine")]

use super::tiles::{
    Kind, Line, Operands, ROWS, Sums, TileSession, ZEROS, multiply, nearest, round, words,
};
use crate::attention::{Rows, Scoring};
use crate::layout::LANES;
use crate::math::{MASKED_SCORE, exp_or_zero};
use crate::pack::round_to_bf16;

/// Queries of a block: two bands of tiles.
const BLOCK: usize = 2 * ROWS;
/// Channels or keys that a tile of bfloat16 holds.
const DEPTH: usize = 32;

/// The first `width` channels of a row.
fn row_of(rows: Rows<'_>, row: usize, width: usize) -> &[f32] {
    &rows.values[row * rows.stride..][..width]
}

/// Keys and values of one head as right-hand tiles, in pairs of panels.
pub(crate) struct Tiles {
    /// `[keys / 16][width / 32][16]` lines: a line has two channels of 16 keys.
    keys: Vec<Line>,
    /// `[width / 16][keys / 32][16]` lines: a line has 16 channels of two keys.
    values: Vec<Line>,
    count: usize,
    width: usize,
}

impl Tiles {
    pub(crate) fn new(key: Rows<'_>, value: Rows<'_>, width: usize) -> Self {
        // SAFETY: machines with tiles have these vectors.
        unsafe { Self::pack(key, value, width) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn pack(key: Rows<'_>, value: Rows<'_>, width: usize) -> Self {
        let count = key.count;
        let steps = width.div_ceil(DEPTH);
        let pairs = count.div_ceil(2 * LANES);
        let mut keys = vec![ZEROS; pairs * 2 * steps * ROWS];
        let mut row = vec![ZEROS; steps];
        for i in 0..count {
            let row: &mut [[u32; 16]] = words(&mut row);
            let row: &mut [u32] = row.as_flattened_mut();
            round(row_of(key, i, width), bytemuck::cast_slice_mut(row));
            let panel = &mut keys[i / LANES * steps * ROWS..][..steps * ROWS];
            for (line, word) in panel.iter_mut().zip(row) {
                line.0[i % LANES] = *word;
            }
        }
        let panels = width.div_ceil(2 * LANES) * 2;
        let mut values = vec![ZEROS; panels * pairs * ROWS];
        let none = vec![0.0; width];
        for pair in 0..count.div_ceil(2) {
            let even = row_of(value, 2 * pair, width);
            let odd = if 2 * pair + 1 < count { row_of(value, 2 * pair + 1, width) } else { &none };
            for (panel, (even, odd)) in even.chunks(LANES).zip(odd.chunks(LANES)).enumerate() {
                let line = &mut values[panel * pairs * ROWS + pair].0;
                for (word, (even, odd)) in line.iter_mut().zip(even.iter().zip(odd)) {
                    *word = nearest(*even) | nearest(*odd) << 16;
                }
            }
        }
        Self { keys, values, count, width }
    }

    /// Tiles along the channels of a key.
    fn steps(&self) -> usize {
        self.width.div_ceil(DEPTH)
    }

    /// Pairs of panels of keys.
    fn pairs(&self) -> usize {
        self.count.div_ceil(2 * LANES)
    }
}

/// A block's queries, scores and weights on their way.
struct Block {
    /// `[2 bands][width / 32][16]` lines.
    queries: Vec<Line>,
    /// Of two bands by pairs of panels of keys.
    scores: Vec<[Sums; 4]>,
    /// `[2 bands][keys / 32][16]` lines.
    weights: Vec<Line>,
    /// What the weights of each query add up to.
    sums: [f32; BLOCK],
}

/// See [`crate::TileKeys::attend`].
pub(crate) fn attend(
    tiles: &Tiles,
    query: Rows<'_>,
    masked: Option<&[u8]>,
    scoring: Scoring,
    mut write: impl FnMut(usize, &[f32]),
) {
    assert!(masked.is_none_or(|masked| masked.len() == query.count * tiles.count), "another mask");
    let _session = TileSession::new();
    let mut block = Block {
        queries: vec![ZEROS; 2 * tiles.steps() * ROWS],
        scores: vec![[Sums::ZEROS; 4]; tiles.pairs()],
        weights: vec![ZEROS; 2 * tiles.pairs() * ROWS],
        sums: [0.0; BLOCK],
    };
    let mut mixed = vec![[Sums::ZEROS; 4]; tiles.width.div_ceil(2 * LANES)];
    let mut row = vec![0.0; mixed.len() * 2 * LANES];
    for first in (0..query.count).step_by(BLOCK) {
        let rows = BLOCK.min(query.count - first);
        let masked = masked.map(|masked| &masked[first * tiles.count..][..rows * tiles.count]);
        // SAFETY: machines with tiles have these vectors; a session is open.
        unsafe {
            block.read(query, first, rows, tiles.width);
            block.score(tiles);
            block.soften(rows, tiles.count, masked, scoring);
            block.mix(tiles, &mut mixed);
        }
        for i in 0..rows {
            let factor = block.sums[i].recip();
            for (pair, out) in mixed.iter().zip(row.chunks_exact_mut(2 * LANES)) {
                let (left, right) = out.split_at_mut(LANES);
                for (half, out) in [left, right].into_iter().enumerate() {
                    let sums = &pair[i / ROWS * 2 + half].0[i % ROWS];
                    out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum * factor);
                }
            }
            write(first + i, &row[..tiles.width]);
        }
    }
}

impl Block {
    /// Takes up queries; what is left of an earlier block in missing rows is never written out.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn read(&mut self, query: Rows<'_>, first: usize, rows: usize, width: usize) {
        let steps = width.div_ceil(DEPTH);
        let mut row = vec![ZEROS; steps];
        for i in 0..rows {
            let words = words(&mut row).as_flattened_mut();
            round(row_of(query, first + i, width), bytemuck::cast_slice_mut(words));
            for (step, line) in row.iter().enumerate() {
                self.queries[(i / ROWS * steps + step) * ROWS + i % ROWS] = *line;
            }
        }
    }

    /// Scores of all keys.
    ///
    /// # Safety
    /// A [`TileSession`] is open on this thread.
    unsafe fn score(&mut self, tiles: &Tiles) {
        let steps = tiles.steps();
        let rows = [0, 1].map(|band| self.queries[band * steps * ROWS..].as_ptr());
        for (pair, sums) in self.scores.iter_mut().enumerate() {
            let panel = |i: usize| tiles.keys[(2 * pair + i) * steps * ROWS..].as_ptr().cast();
            let operands = Operands { rows, panels: [panel(0), panel(1)], steps, next: panel(0) };
            // SAFETY: the caller's; bands and panels have `steps` tiles.
            unsafe { multiply(Kind::Bf16, &operands, sums, true) };
        }
    }

    /// Scores to weights, which are at most 1 and add up to [`Block::sums`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn soften(&mut self, rows: usize, count: usize, masked: Option<&[u8]>, scoring: Scoring) {
        let pairs = self.scores.len();
        for i in 0..rows {
            let (band, line) = (i / ROWS, i % ROWS);
            let masked = masked.map(|masked| &masked[i * count..][..count]);
            let mut highest = [f32::NEG_INFINITY; LANES];
            for (panel, sums) in self.scores.as_flattened_mut().chunks_exact_mut(2).enumerate() {
                // Of four tiles, two belong to each band.
                if panel % 2 != band {
                    continue;
                }
                for (half, sums) in sums.iter_mut().enumerate() {
                    let scores = &mut sums.0[line];
                    let key = (panel / 2 * 2 + half) * LANES;
                    scoring.apply(scores);
                    if let Some(masked) = masked {
                        let masked = &masked[key.min(count)..];
                        for (score, masked) in scores.iter_mut().zip(masked) {
                            *score = if *masked == 0 { *score } else { MASKED_SCORE };
                        }
                    }
                    scores.iter_mut().skip(count.saturating_sub(key)).for_each(|score| {
                        *score = f32::NEG_INFINITY;
                    });
                    highest.iter_mut().zip(scores).for_each(|(a, b)| *a = a.max(*b));
                }
            }
            let highest = highest.into_iter().fold(f32::NEG_INFINITY, f32::max);
            let mut sums = [0.0; LANES];
            for pair in 0..pairs {
                let mut weights = [0.0; 2 * LANES];
                let scores = &self.scores[pair][2 * band..][..2];
                // Loops, since closures may not be inlined into this function's vectors.
                for (weights, scores) in weights.chunks_exact_mut(LANES).zip(scores) {
                    for (weight, score) in weights.iter_mut().zip(scores.0[line]) {
                        *weight = exp_or_zero(score - highest);
                    }
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum += *weight;
                    }
                }
                let out = &mut self.weights[(band * pairs + pair) * ROWS + line];
                let out = bytemuck::cast_slice_mut::<u32, u16>(&mut out.0);
                for (out, weight) in out.iter_mut().zip(weights) {
                    *out = round_to_bf16(weight) as u16;
                }
            }
            self.sums[i] = sums.into_iter().sum();
        }
    }

    /// Values weighted and added up.
    ///
    /// # Safety
    /// A [`TileSession`] is open on this thread.
    unsafe fn mix(&self, tiles: &Tiles, mixed: &mut [[Sums; 4]]) {
        let steps = tiles.pairs();
        let rows = [0, 1].map(|band| self.weights[band * steps * ROWS..].as_ptr());
        for (pair, sums) in mixed.iter_mut().enumerate() {
            let panel = |i: usize| tiles.values[(2 * pair + i) * steps * ROWS..].as_ptr().cast();
            let operands = Operands { rows, panels: [panel(0), panel(1)], steps, next: panel(0) };
            // SAFETY: the caller's; bands and panels have `steps` tiles.
            unsafe { multiply(Kind::Bf16, &operands, sums, true) };
        }
    }
}
