//! Products with many rows, on matrix tiles.
//!
//! Tiles of activations are laid out once per product. A thread takes eight pairs of panels at a
//! time; rows and input channels are cut so that what it reads again stays near: two panels of 1024
//! bytes a row in the first cache, 288 rows of them in the second. What comes next is fetched
//! meanwhile.
#![expect(unsafe_code, reason = "instructions of the machine")]
#![allow(clippy::wildcard_imports, reason = "the vendor's names, known by their beginning")]

use std::arch::x86_64::*;
use std::ops::Range;

use rayon::prelude::*;

use super::tiles::{Kind, Line, Operands, ROWS, Sums, TileSession, ZEROS, multiply, round, words};
use crate::activations::quantize;
use crate::layout::{GROUP, INT4_BLOCK, LANES, PackedFormat, STEP};
use crate::math::tanh_gelu;
use crate::pack::{int4_scale, int8_scales};
use crate::product::{Activation, Product};

/// Pairs of tiles of rows that are multiplied with what is in the cache.
const BANDS: usize = 9;
/// Tiles along the input channels that are multiplied with what is in the cache.
const STEPS: usize = 16;
/// Pairs of panels that a thread takes at a time, at most.
const PAIRS: usize = 8;
/// Pieces of work for each thread, at least, so that none waits long for the last.
const PIECES: usize = 4;

/// Activations as left-hand tiles, `[rows / 16][depth / step][16]` lines; missing rows are zeros.
struct Tiles {
    lines: Vec<Line>,
    /// What a unit of each row is worth; none where values keep their scale.
    scales: Option<Vec<f32>>,
    /// Tiles along the input channels.
    steps: usize,
}

impl Tiles {
    fn new(kind: Kind, x: &[f32], inputs: usize) -> Self {
        let depth = inputs.next_multiple_of(STEP);
        let bytes = if kind == Kind::Int8 { depth } else { 2 * depth };
        let (rows, steps) = (x.len() / inputs, bytes / 64);
        // An even number of tiles of rows, since two are multiplied at once.
        let mut lines = vec![ZEROS; rows.next_multiple_of(2 * ROWS) * steps];
        let mut scales = vec![1.0; rows];
        lines
            .par_chunks_mut(ROWS * steps)
            .zip(x.par_chunks(ROWS * inputs))
            .zip(scales.par_chunks_mut(ROWS))
            .for_each(|((lines, x), scales)| {
                // SAFETY: machines with tiles have these vectors.
                unsafe { band(kind, x, inputs, lines, scales) }
            });
        Self { lines, scales: (kind == Kind::Int8).then_some(scales), steps }
    }

    fn band(&self, band: usize, step: usize) -> *const Line {
        self.lines[(band * self.steps + step) * ROWS..].as_ptr()
    }
}

/// Up to sixteen rows into a band of tiles.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn band(kind: Kind, x: &[f32], inputs: usize, lines: &mut [Line], scales: &mut [f32]) {
    let mut scratch = vec![ZEROS; lines.len() / ROWS];
    for (row, x) in x.chunks_exact(inputs).enumerate() {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(words(&mut scratch));
        match kind {
            Kind::Int8 => scales[row] = quantize(x, bytemuck::cast_slice_mut(bytes)),
            Kind::Bf16 => round(x, bytemuck::cast_slice_mut(bytes)),
        }
        for (line, tile) in scratch.iter().zip(lines.chunks_exact_mut(ROWS)) {
            tile[row] = *line;
        }
    }
}

/// `x W^T + b` for any number of rows.
pub(crate) fn linear(product: &Product<'_>, x: &[f32]) {
    let kind = match product.layout.format {
        PackedFormat::Int8 => Kind::Int8,
        // 4-bit panels become bfloat16 ones on their way into the cache.
        PackedFormat::Bf16 | PackedFormat::Int4 => Kind::Bf16,
    };
    let tiles = Tiles::new(kind, x, product.layout.inputs);
    let panels = product.layout.panels();
    let pairs = (panels / (2 * PIECES * rayon::current_num_threads())).clamp(1, PAIRS);
    let groups = panels.div_ceil(2 * pairs);
    (0..groups).into_par_iter().for_each_init(Scratch::default, |scratch, group| {
        let _session = TileSession::new();
        let bands = product.rows.div_ceil(2 * ROWS);
        for first in (0..bands).step_by(BANDS) {
            let work =
                Block { product, tiles: &tiles, kind, first, bands: BANDS.min(bands - first) };
            let all = group * 2 * pairs..((group + 1) * 2 * pairs).min(panels);
            work.run(all, scratch);
        }
    });
}

/// A thread's own memory, kept from block to block.
#[derive(Default)]
struct Scratch {
    sums: Vec<[Sums; 4]>,
    unpacked: [Vec<Line>; 2],
}

/// Some bands of rows times a group of panels.
struct Block<'a> {
    product: &'a Product<'a>,
    tiles: &'a Tiles,
    kind: Kind,
    /// The first pair of bands, and how many.
    first: usize,
    bands: usize,
}

impl Block<'_> {
    /// Computes the panels in `all`.
    fn run(&self, all: Range<usize>, scratch: &mut Scratch) {
        let pairs = all.len().div_ceil(2);
        scratch.sums.clear();
        scratch.sums.resize(pairs * self.bands, [Sums::ZEROS; 4]);
        // Few rows stay near whole, and panels are then best read from end to end.
        let most = if self.bands <= 2 { self.tiles.steps } else { STEPS };
        for step in (0..self.tiles.steps).step_by(most) {
            let steps = most.min(self.tiles.steps - step);
            for pair in 0..pairs {
                let left = all.start + 2 * pair;
                // A last panel without a neighbour is multiplied twice and written once.
                let both = [left, (left + 1).min(all.end - 1)];
                let panels = self.panels(both, step, steps, &mut scratch.unpacked);
                let next = self.next(both[1] + 1, step);
                for band in 0..self.bands {
                    let rows = [0, 1].map(|i| self.tiles.band(2 * (self.first + band) + i, step));
                    let next = next.wrapping_add(256 * band * steps);
                    let sums = &mut scratch.sums[pair * self.bands + band];
                    // SAFETY: bands and panels go on for `steps` tiles; `linear` opened a session.
                    unsafe {
                        multiply(self.kind, &Operands { rows, panels, steps, next }, sums);
                    }
                }
            }
        }
        for (index, sums) in scratch.sums.iter().enumerate() {
            let left = all.start + 2 * (index / self.bands);
            let row = (self.first + index % self.bands) * 2 * ROWS;
            // SAFETY: machines with tiles have these vectors.
            unsafe { self.write(sums, row, left, (all.end - left).min(2)) };
        }
    }

    /// Where a panel goes on at a step, if there is such a panel.
    fn next(&self, panel: usize, step: usize) -> *const u8 {
        let offset = match self.product.layout.format {
            PackedFormat::Int4 => step / 2 * INT4_BLOCK,
            PackedFormat::Bf16 | PackedFormat::Int8 => step * 1024,
        };
        let start = panel * self.product.layout.panel_bytes() + offset;
        self.product.packed.as_ptr().wrapping_add(start)
    }

    /// Where `steps` tiles of two panels begin.
    fn panels(
        &self,
        panels: [usize; 2],
        step: usize,
        steps: usize,
        unpacked: &mut [Vec<Line>; 2],
    ) -> [*const u8; 2] {
        let product = self.product;
        if product.layout.format == PackedFormat::Int4 {
            // A tile of bfloat16 has half the input channels of a 4-bit block.
            let blocks = step / 2 * INT4_BLOCK..(step + steps).div_ceil(2) * INT4_BLOCK;
            for (panel, lines) in panels.into_iter().zip(unpacked.iter_mut()) {
                lines.resize(blocks.len() / INT4_BLOCK * STEP / 2, ZEROS);
                // SAFETY: machines with tiles have these vectors.
                unsafe { unpack(&product.panel(panel)[blocks.clone()], lines) };
            }
            return unpacked.each_ref().map(|lines| lines.as_ptr().cast());
        }
        panels.map(|panel| product.panel(panel)[step * 1024..(step + steps) * 1024].as_ptr())
    }

    /// Scales the sums of two bands by one or two panels, adds the bias, applies the activation and
    /// writes the rows that there are, a row of all panels at a time.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn write(&self, sums: &[Sums; 4], first: usize, left: usize, panels: usize) {
        let product = self.product;
        let units = self.tiles.scales.as_deref();
        let scales = [0, 1].map(|i| match units {
            Some(_) => int8_scales(product.panel(left + i.min(panels - 1))),
            None => [1.0; LANES],
        });
        let rows = product.rows.saturating_sub(first).min(2 * ROWS);
        for row in 0..rows {
            for (i, scales) in scales.iter().enumerate().take(panels) {
                let sums = &sums[row / ROWS * 2 + i].0[row % ROWS];
                let (place, bias, count) = product.place(first + row, left + i);
                // SAFETY: sums, scales and bias are sixteen numbers each; `count` numbers from
                // `place` on are this thread's to write.
                unsafe {
                    let bias = _mm512_loadu_ps(bias.as_ptr());
                    let mut values = match units {
                        Some(units) => {
                            let sums = _mm512_cvtepi32_ps(_mm512_loadu_si512(sums.as_ptr().cast()));
                            let unit = _mm512_set1_ps(units[first + row]);
                            let scales = _mm512_mul_ps(_mm512_loadu_ps(scales.as_ptr()), unit);
                            _mm512_add_ps(_mm512_mul_ps(sums, scales), bias)
                        }
                        None => _mm512_add_ps(_mm512_loadu_ps(sums.as_ptr()), bias),
                    };
                    if product.activation == Activation::TanhGelu {
                        let mut numbers = [0.0_f32; LANES];
                        _mm512_storeu_ps(numbers.as_mut_ptr(), values);
                        values = _mm512_loadu_ps(numbers.map(tanh_gelu).as_ptr());
                    }
                    let mask = (u32::MAX >> (32 - count)) as u16;
                    _mm512_mask_storeu_ps(place, mask, values);
                }
            }
        }
    }
}

/// 4-bit blocks to lines of bfloat16, `[16 outputs][2 inputs]`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn unpack(blocks: &[u8], lines: &mut [Line]) {
    let low = _mm512_set1_epi8(15);
    for (block, lines) in blocks.chunks_exact(INT4_BLOCK).zip(lines.chunks_exact_mut(STEP / 2)) {
        let scales = [0, 1].map(|group| {
            let scales: [f32; LANES] = std::array::from_fn(|lane| int4_scale(block, group, lane));
            // SAFETY: sixteen numbers fill the vector, and the load needs no alignment.
            unsafe { _mm512_loadu_ps(scales.as_ptr()) }
        });
        for (eight, lines) in lines.chunks_exact_mut(4).enumerate() {
            let bytes = &block[eight * 64..eight * 64 + 64];
            // SAFETY: the slice is as long as the vector, and the load needs no alignment.
            let bytes = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
            let scale = scales[eight * 8 / GROUP];
            let high = _mm512_and_si512(_mm512_srli_epi32::<4>(bytes), low);
            for (half, levels) in [_mm512_and_si512(bytes, low), high].into_iter().enumerate() {
                let parts = [pair(levels, scale), pair(_mm512_srli_epi32::<16>(levels), scale)];
                for (line, part) in lines[2 * half..].iter_mut().zip(parts) {
                    // SAFETY: a line is as long as the vector, and the store needs no alignment.
                    unsafe { _mm512_storeu_si512(line.0.as_mut_ptr().cast(), part) };
                }
            }
        }
    }
}

/// The two lowest levels of each lane, scaled, as two bfloat16.
#[inline]
#[target_feature(enable = "avx512f")]
fn pair(levels: __m512i, scale: __m512) -> __m512i {
    let byte = _mm512_set1_epi32(255);
    let number = |level: __m512i| {
        let level = _mm512_sub_epi32(_mm512_and_si512(level, byte), _mm512_set1_epi32(8));
        let bits = _mm512_castps_si512(_mm512_mul_ps(_mm512_cvtepi32_ps(level), scale));
        // To nearest; ties go up, which costs nothing against the four bits of the level.
        _mm512_add_epi32(bits, _mm512_set1_epi32(0x8000))
    };
    let odd = _mm512_and_si512(number(_mm512_srli_epi32::<8>(levels)), _mm512_set1_epi32(-65536));
    _mm512_or_si512(_mm512_srli_epi32::<16>(number(levels)), odd)
}
