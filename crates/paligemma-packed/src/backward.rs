//! `dy W` with a packed `W`: the gradient of a product for its activations.
//!
//! Weights become f32 block by block, never all of them; products are f32.

use rayon::prelude::*;

use crate::dense::Target;
use crate::layout::{GROUP, INT4_BLOCK, LANES, PackedFormat, PackedLayout, STEP};
use crate::math::vectorised;
use crate::pack::{int4_scale, int8_scales};

/// Input channels of a task, which it owns: sums do not depend on the number of threads.
const COLUMNS: usize = 2 * STEP;
/// Output channels that are unpacked at once: with [`COLUMNS`] a quarter of a megabyte.
const ROWS: usize = 32 * LANES;

impl PackedLayout {
    /// The gradient of [`PackedLayout::linear`] for its activations, without what a bias or an
    /// activation adds: `dy W`.
    ///
    /// # Shapes
    /// - `grad`: `[rows, outputs]`
    /// - output: `[rows, inputs]`
    ///
    /// # Panics
    /// If `packed` is not of this layout, or `grad` does not have this shape.
    pub fn linear_backward(&self, packed: &[u8], grad: &[f32]) -> Vec<f32> {
        let rows = grad.len() / self.outputs.max(1);
        assert_eq!(packed.len(), self.bytes(), "the packed matrix has another layout");
        assert_eq!(rows * self.outputs, grad.len(), "the gradient has another width");
        let mut out = vec![0.0; rows * self.inputs];
        let all = Target { start: out.as_mut_ptr(), row: self.inputs };
        (0..self.inputs.div_ceil(COLUMNS)).into_par_iter().for_each_init(
            || vec![0.0; ROWS * COLUMNS],
            |weights, task| self.task(packed, grad, task * COLUMNS, weights, all),
        );
        out
    }

    /// The input channels of one task, over all output channels.
    fn task(&self, packed: &[u8], grad: &[f32], first: usize, weights: &mut [f32], out: Target) {
        let rows = grad.len() / self.outputs.max(1);
        let width = COLUMNS.min(self.inputs - first);
        for block in (0..self.outputs).step_by(ROWS) {
            let outputs = ROWS.min(self.outputs - block);
            for panel in 0..outputs.div_ceil(LANES) {
                let at = (block / LANES + panel) * self.panel_bytes();
                let panel_bytes = &packed[at..][..self.panel_bytes()];
                let into = &mut weights[panel * LANES..];
                vectorised(
                    #[inline(always)]
                    || unpack(self.format, panel_bytes, first, width.next_multiple_of(STEP), into),
                );
            }
            #[expect(unsafe_code, reason = "gemm takes pointers and strides")]
            // SAFETY: `grad` has `rows` rows of `outputs` numbers from `block` on, `weights` a
            // column of ROWS numbers for each of at most COLUMNS input channels, and `out` as many
            // rows of `inputs` numbers, of which no other task writes these columns.
            unsafe {
                gemm::gemm(
                    rows,
                    width,
                    outputs,
                    out.start.wrapping_add(first),
                    1,
                    out.row as isize,
                    true,
                    grad.as_ptr().add(block),
                    1,
                    self.outputs as isize,
                    weights.as_ptr(),
                    ROWS as isize,
                    1,
                    1.0,
                    1.0,
                    false,
                    false,
                    false,
                    gemm::Parallelism::None,
                );
            }
        }
    }
}

/// Input channels `first..first + width` of a panel, [`STEP`] a step: those of an input channel lie
/// together in `out`, [`ROWS`] from the next.
#[inline(always)]
fn unpack(format: PackedFormat, panel: &[u8], first: usize, width: usize, out: &mut [f32]) {
    match format {
        PackedFormat::Bf16 => {
            let lines = &panel[first * LANES * 2..][..width * LANES * 2];
            for (pair, line) in lines.as_chunks::<{ 4 * LANES }>().0.iter().enumerate() {
                let words = words(line);
                *column(out, 2 * pair) = words.map(|word| f32::from_bits(word << 16));
                *column(out, 2 * pair + 1) = words.map(|word| f32::from_bits(word & 0xFFFF_0000));
            }
        }
        PackedFormat::Int8 => {
            let scales = int8_scales(panel);
            let lines = &panel[first * LANES..][..width * LANES];
            for (four, line) in lines.as_chunks::<{ 4 * LANES }>().0.iter().enumerate() {
                let words = words(line);
                for k in 0..4 {
                    let weights = column(out, 4 * four + k);
                    for lane in 0..LANES {
                        let level = (words[lane] << (24 - 8 * k)) as i32 >> 24;
                        weights[lane] = level as f32 * scales[lane];
                    }
                }
            }
        }
        PackedFormat::Int4 => {
            let blocks = &panel[first / STEP * INT4_BLOCK..][..width / STEP * INT4_BLOCK];
            for (step, block) in blocks.chunks_exact(INT4_BLOCK).enumerate() {
                for group in 0..STEP / GROUP {
                    let scales: [f32; LANES] =
                        std::array::from_fn(|lane| int4_scale(block, group, lane));
                    let lines = &block[group * GROUP * LANES / 2..][..GROUP * LANES / 2];
                    for (eight, line) in lines.as_chunks::<{ 4 * LANES }>().0.iter().enumerate() {
                        let words = words(line);
                        for k in 0..8 {
                            let at = step * STEP + group * GROUP + 8 * eight + k;
                            let weights = column(out, at);
                            let shift = k % 4 * 8 + k / 4 * 4;
                            for lane in 0..LANES {
                                let level = (words[lane] >> shift & 15) as f32 - 8.0;
                                weights[lane] = level * scales[lane];
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The sixteen 4-byte pieces of a line.
#[inline(always)]
fn words(line: &[u8; 4 * LANES]) -> [u32; LANES] {
    let pieces = line.as_chunks::<4>().0;
    std::array::from_fn(|lane| u32::from_le_bytes(pieces[lane]))
}

/// The place of a panel's weights for an input channel.
#[inline(always)]
fn column(out: &mut [f32], at: usize) -> &mut [f32; LANES] {
    let (start, _) = out[at * ROWS..][..LANES].as_chunks_mut::<LANES>();
    &mut start[0]
}
