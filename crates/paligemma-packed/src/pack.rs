//! Published matrices into packed ones, and single rows back.

use std::io;

use half::{bf16, f16};
use rayon::prelude::*;

use crate::activations::quantize;
use crate::buffer::PackedBuffer;
#[cfg(target_arch = "x86_64")]
use crate::isa::Isa;
use crate::layout::{GROUP, INT4_BLOCK, LANES, MOST_INPUTS, PackedFormat, PackedLayout, STEP};
use crate::levels;

/// Why a matrix cannot be packed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// A weight that the format cannot hold.
    #[error("the weight at row {row}, column {column} is {value}, which {format} cannot hold")]
    Value {
        /// Output channel.
        row: usize,
        /// Input channel.
        column: usize,
        /// The weight.
        value: f32,
        /// The format.
        format: PackedFormat,
    },
    /// More input channels than sums of 8-bit products have room for.
    #[error("{inputs} input channels are more than the {MOST_INPUTS} that a product takes")]
    Inputs {
        /// Input channels.
        inputs: usize,
    },
    /// The system has no memory left.
    #[error("cannot get {bytes} bytes for packed weights: {source}")]
    Memory {
        /// How many bytes were asked for.
        bytes: usize,
        /// What the system answered.
        source: io::Error,
    },
}

impl PackedLayout {
    /// Packs a matrix on all threads. `read` writes a row of the published `[out, in]` matrix
    /// into the slice, which has the length of one.
    ///
    /// # Errors
    /// If a weight is not finite or too large for the format, or if there is no memory.
    pub fn pack(&self, read: impl Fn(usize, &mut [f32]) + Sync) -> Result<PackedBuffer, PackError> {
        if self.inputs > MOST_INPUTS {
            return Err(PackError::Inputs { inputs: self.inputs });
        }
        let bytes = self.bytes();
        let mut buffer =
            PackedBuffer::new(bytes).map_err(|source| PackError::Memory { bytes, source })?;
        let panels = buffer.as_mut().par_chunks_exact_mut(self.panel_bytes().max(1));
        panels.enumerate().try_for_each_init(
            || Rows::new(self),
            |rows, (panel, out)| {
                for lane in 0..LANES {
                    let row = panel * LANES + lane;
                    rows.values.fill(0.0);
                    if row < self.outputs {
                        let values = &mut rows.values[..self.inputs];
                        read(row, values);
                        self.check(row, values)?;
                    }
                    rows.encode(self.format, lane);
                }
                rows.write(self.format, out);
                Ok(())
            },
        )?;
        Ok(buffer)
    }

    /// Refuses what the format cannot hold.
    fn check(&self, row: usize, values: &[f32]) -> Result<(), PackError> {
        // f16 holds a group's scale, which is a seventh or an eighth of its largest weight.
        let most = match self.format {
            PackedFormat::Bf16 => f32::from(bf16::MAX),
            PackedFormat::Int8 => f32::MAX,
            PackedFormat::Int4 => 7.0 * f32::from(f16::MAX),
        };
        if largest(values) <= most {
            return Ok(());
        }
        // NaN is no larger than anything, and refused too.
        let column = values.iter().position(|value| value.is_nan() || value.abs() > most);
        let column = column.unwrap_or(0);
        Err(PackError::Value { row, column, value: values[column], format: self.format })
    }

    /// Writes one row of the published matrix into `out`, as near as the format holds it.
    ///
    /// # Panics
    /// If `packed` is not of this layout, `row` is out of range or `out` has not the length of a
    /// row.
    pub fn row(&self, packed: &[u8], row: usize, out: &mut [f32]) {
        assert_eq!(packed.len(), self.bytes(), "the packed matrix has another layout");
        assert!(row < self.outputs && out.len() == self.inputs, "the row does not fit");
        let panel = &packed[row / LANES * self.panel_bytes()..][..self.panel_bytes()];
        let lane = row % LANES;
        match self.format {
            PackedFormat::Bf16 => {
                for (k, out) in out.iter_mut().enumerate() {
                    let at = 2 * (k / 2 * 2 * LANES + lane * 2 + k % 2);
                    *out = bf16::from_le_bytes([panel[at], panel[at + 1]]).to_f32();
                }
            }
            PackedFormat::Int8 => {
                let scale = int8_scales(panel)[lane];
                for (k, out) in out.iter_mut().enumerate() {
                    let at = k / 4 * 4 * LANES + lane * 4 + k % 4;
                    *out = f32::from(panel[at] as i8) * scale;
                }
            }
            PackedFormat::Int4 => {
                for (k, out) in out.iter_mut().enumerate() {
                    *out =
                        int4_weight(&panel[k / STEP * INT4_BLOCK..][..INT4_BLOCK], lane, k % STEP);
                }
            }
        }
    }
}

/// The scales of an 8-bit panel, which end it.
pub(crate) fn int8_scales(panel: &[u8]) -> [f32; LANES] {
    bytemuck::pod_read_unaligned(&panel[panel.len() - 4 * LANES..])
}

/// The scale of a group of a 4-bit block.
pub(crate) fn int4_scale(block: &[u8], group: usize, lane: usize) -> f32 {
    let at = STEP * LANES / 2 + 2 * (group * LANES + lane);
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// A weight of a 4-bit block.
fn int4_weight(block: &[u8], lane: usize, k: usize) -> f32 {
    let byte = block[k / 8 * 4 * LANES + lane * 4 + k % 4];
    let level = if k % 8 < 4 { byte & 15 } else { byte >> 4 };
    (f32::from(level) - 8.0) * int4_scale(block, k / GROUP, lane)
}

/// The largest magnitude, or NaN if there is one: of floats as integers, in order, NaN is last.
#[inline(always)]
fn largest(values: &[f32]) -> f32 {
    let bits = values.iter().fold(0_i32, |most, value| most.max(value.abs().to_bits() as i32));
    f32::from_bits(bits as u32)
}

/// Words between rows: rows a power of two apart would fight for the same lines of the cache.
const APART: usize = 16;

/// Sixteen rows on their way into a panel.
struct Rows {
    /// The row that is being encoded.
    values: Vec<f32>,
    /// Each row as the 4-byte pieces that lie in its lane of the panel's lines.
    words: Vec<u32>,
    /// Number of those pieces.
    count: usize,
    /// Each row's scale, or each group's of it.
    scales: Vec<f32>,
}

impl Rows {
    fn new(layout: &PackedLayout) -> Self {
        let depth = layout.depth();
        let (count, scales) = match layout.format {
            PackedFormat::Bf16 => (depth / 2, 0),
            PackedFormat::Int8 => (depth / 4, 1),
            PackedFormat::Int4 => (depth / 8, depth / GROUP),
        };
        Self {
            values: vec![0.0; depth],
            words: vec![0; (count + APART) * LANES],
            count,
            scales: vec![0.0; scales * LANES],
        }
    }

    /// Encodes the row at hand as that of a lane.
    fn encode(&mut self, format: PackedFormat, lane: usize) {
        let scales = self.scales.len() / LANES;
        let words = &mut self.words[lane * (self.count + APART)..][..self.count];
        let scales = &mut self.scales[lane * scales..][..scales];
        #[cfg(target_arch = "x86_64")]
        if Isa::best() >= Isa::Avx2 {
            #[expect(unsafe_code, reason = "the same code for wider vectors")]
            // SAFETY: the machine was found to have them.
            unsafe {
                return encode_avx2(format, &self.values, words, scales);
            }
        }
        encode(format, &self.values, words, scales);
    }

    /// Writes the sixteen rows as a panel.
    fn write(&self, format: PackedFormat, out: &mut [u8]) {
        let scale = |lane: usize, at: usize| self.scales[lane * self.scales.len() / LANES + at];
        let lines = |first: usize, out: &mut [u8]| {
            for (line, out) in out.chunks_exact_mut(4 * LANES).enumerate() {
                for (lane, out) in out.chunks_exact_mut(4).enumerate() {
                    out.copy_from_slice(
                        &self.words[lane * (self.count + APART) + first + line].to_le_bytes(),
                    );
                }
            }
        };
        match format {
            PackedFormat::Bf16 => lines(0, out),
            PackedFormat::Int8 => {
                let (weights, scales) = out.split_at_mut(self.count * 4 * LANES);
                lines(0, weights);
                for (lane, out) in scales.chunks_exact_mut(4).enumerate() {
                    out.copy_from_slice(&scale(lane, 0).to_le_bytes());
                }
            }
            PackedFormat::Int4 => {
                for (block, out) in out.chunks_exact_mut(INT4_BLOCK).enumerate() {
                    let (weights, scales) = out.split_at_mut(STEP * LANES / 2);
                    lines(block * STEP / 8, weights);
                    for (at, out) in scales.chunks_exact_mut(2).enumerate() {
                        let group = block * STEP / GROUP + at / LANES;
                        out.copy_from_slice(&f16::from_f32(scale(at % LANES, group)).to_le_bytes());
                    }
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn encode_avx2(format: PackedFormat, values: &[f32], words: &mut [u32], scales: &mut [f32]) {
    encode(format, values, words, scales);
}

#[inline(always)]
fn encode(format: PackedFormat, values: &[f32], words: &mut [u32], scales: &mut [f32]) {
    match format {
        PackedFormat::Bf16 => {
            for (pair, word) in values.as_chunks::<2>().0.iter().zip(words) {
                let [low, high] = pair.map(round_to_bf16);
                *word = low | high << 16;
            }
        }
        PackedFormat::Int8 => {
            let mut levels = vec![0; values.len()];
            scales[0] = quantize(values, &mut levels);
            for (four, word) in levels.as_chunks::<4>().0.iter().zip(words) {
                *word = u32::from_le_bytes(four.map(|level| level as u8));
            }
        }
        PackedFormat::Int4 => {
            let groups =
                values.as_chunks::<GROUP>().0.iter().zip(words.chunks_exact_mut(GROUP / 8));
            for ((values, words), scale) in groups.zip(scales) {
                *scale = levels::scale_of(values);
                let inverse = levels::inverse(*scale);
                let mut chosen = [0; GROUP];
                for (level, value) in chosen.iter_mut().zip(values) {
                    *level = levels::level(*value, inverse).to_bits() as u8;
                }
                for (eight, word) in chosen.as_chunks::<8>().0.iter().zip(words) {
                    let [a, b, c, d, e, f, g, h] = *eight;
                    *word = u32::from_le_bytes([a | e << 4, b | f << 4, c | g << 4, d | h << 4]);
                }
            }
        }
    }
}

/// The bits of the nearest bfloat16, ties to even, of a number.
#[inline(always)]
pub(crate) fn round_to_bf16(value: f32) -> u32 {
    let bits = value.to_bits();
    bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16
}
