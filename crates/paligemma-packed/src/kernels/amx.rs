//! Many rows, on matrix tiles (AMX): 16 x 16 results a step from 64 bytes of each operand's rows.
//!
//! Tiles of activations are laid out once per product. A thread takes eight pairs of panels at a
//! time; rows and input channels are cut so that what it reads again stays near: two panels of 1024
//! bytes a row in the first cache, 288 rows of them in the second. What comes next is fetched
//! meanwhile.
#![expect(unsafe_code, reason = "instructions of the machine")]
#![allow(clippy::wildcard_imports, reason = "the vendor's names, known by their beginning")]

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;

use rayon::prelude::*;

use crate::activations::quantize;
use crate::layout::{GROUP, INT4_BLOCK, LANES, PackedFormat, STEP};
use crate::pack::{int4_scale, int8_scales, round_to_bf16};
use crate::product::Product;

/// Rows of a tile; each has 64 bytes.
const ROWS: usize = 16;
/// Pairs of tiles of rows that are multiplied with what is in the cache.
const BANDS: usize = 9;
/// Tiles along the input channels that are multiplied with what is in the cache.
const STEPS: usize = 16;
/// Pairs of panels that a thread takes at a time, at most.
const PAIRS: usize = 8;
/// Pieces of work for each thread, at least, so that none waits long for the last.
const PIECES: usize = 4;

/// 64 bytes: a row of a tile.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

const ZEROS: Line = Line([0; 64]);

/// Sums of a tile, `[16 rows][16 columns]`.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Sums([[u32; LANES]; ROWS]);

/// Which of the machine's products of tiles.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int8,
    Bf16,
}

/// Asks whether the machine has tiles, and the system for their registers.
pub(crate) fn enable() -> bool {
    const BF16: u32 = 1 << 22;
    const TILES: u32 = 1 << 24;
    const INT8: u32 = 1 << 25;
    let there = __cpuid(0).eax >= 7 && {
        let features = __cpuid_count(7, 0).edx;
        [BF16, TILES, INT8].iter().all(|bit| features & bit != 0)
    };
    there && permitted()
}

/// Linux hands the tile registers out only to processes that ask for them.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers and changes nothing but this process's permission.
    let answer =
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) };
    answer == 0
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

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
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(raw(&mut scratch));
        match kind {
            Kind::Int8 => scales[row] = quantize(x, bytemuck::cast_slice_mut(bytes)),
            Kind::Bf16 => round(x, bytemuck::cast_slice_mut(bytes)),
        }
        for (line, tile) in scratch.iter().zip(lines.chunks_exact_mut(ROWS)) {
            tile[row] = *line;
        }
    }
}

/// The bytes of lines.
fn raw(lines: &mut [Line]) -> &mut [[u8; 64]] {
    // SAFETY: a line is 64 bytes and nothing else.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len()) }
}

/// To the nearest bfloat16; what is not a number stays none.
#[inline(always)]
fn round(x: &[f32], out: &mut [u16]) {
    for (value, out) in x.iter().zip(out) {
        *out = if value.is_nan() { 0x7FC0 } else { round_to_bf16(*value) as u16 };
    }
}

/// Sets this thread's tiles to 16 rows of 64 bytes each, and lets go of them at the end.
struct TileSession;

impl TileSession {
    fn new() -> Self {
        let mut configuration = ZEROS;
        configuration.0[0] = 1;
        for tile in 0..8 {
            configuration.0[16 + 2 * tile] = 64;
            configuration.0[48 + tile] = ROWS as u8;
        }
        // SAFETY: the machine has tiles and the system has granted them; the configuration is the
        // documented one.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const configuration, options(nostack, readonly));
        }
        Self
    }
}

impl Drop for TileSession {
    fn drop(&mut self) {
        // SAFETY: see above.
        unsafe { asm!("tilerelease", options(nostack, nomem)) }
    }
}

/// Two bands of rows and two panels, from some tile along the input channels on.
struct Operands {
    rows: [*const Line; 2],
    panels: [*const u8; 2],
    /// How many tiles of 1024 bytes each has.
    steps: usize,
    /// Where what comes next lies: 256 bytes of it are fetched at each step.
    next: *const u8,
}

/// Adds the products of the operands to four tiles of sums.
///
/// # Safety
/// The operands are as long as they say; a [`TileSession`] is open on this thread.
unsafe fn multiply(kind: Kind, operands: &Operands, sums: &mut [Sums; 4]) {
    macro_rules! multiply {
        ($product:literal) => {
            asm!(
                "tileloadd tmm0, [{sums} + {stride}]",
                "tileloadd tmm1, [{sums} + {stride} + 1024]",
                "tileloadd tmm2, [{sums} + {stride} + 2048]",
                "tileloadd tmm3, [{sums} + {stride} + 3072]",
                "2:",
                "prefetcht1 [{next}]",
                "prefetcht1 [{next} + 64]",
                "prefetcht1 [{next} + 128]",
                "prefetcht1 [{next} + 192]",
                "tileloadd tmm4, [{a} + {stride}]",
                "tileloadd tmm6, [{c} + {stride}]",
                "tileloadd tmm5, [{b} + {stride}]",
                "tileloadd tmm7, [{d} + {stride}]",
                concat!($product, " tmm0, tmm4, tmm6"),
                concat!($product, " tmm1, tmm4, tmm7"),
                concat!($product, " tmm2, tmm5, tmm6"),
                concat!($product, " tmm3, tmm5, tmm7"),
                "add {a}, 1024",
                "add {b}, 1024",
                "add {c}, 1024",
                "add {d}, 1024",
                "add {next}, 256",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{sums} + {stride}], tmm0",
                "tilestored [{sums} + {stride} + 1024], tmm1",
                "tilestored [{sums} + {stride} + 2048], tmm2",
                "tilestored [{sums} + {stride} + 3072], tmm3",
                a = inout(reg) operands.rows[0] => _,
                b = inout(reg) operands.rows[1] => _,
                c = inout(reg) operands.panels[0] => _,
                d = inout(reg) operands.panels[1] => _,
                steps = inout(reg) operands.steps => _,
                next = inout(reg) operands.next => _,
                sums = in(reg) sums.as_mut_ptr(),
                stride = in(reg) 64_usize,
                options(nostack),
            )
        };
    }
    // SAFETY: the caller's; the sums are four tiles one after the other; fetching ahead touches no
    // memory, whatever the address. The compiler knows no use for tile registers.
    unsafe {
        match kind {
            Kind::Int8 => multiply!("tdpbssd"),
            Kind::Bf16 => multiply!("tdpbf16ps"),
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
        scratch.sums.resize(pairs * self.bands, [Sums([[0; LANES]; ROWS]); 4]);
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
            for (tile, sums) in sums.iter().enumerate() {
                let panel = left + tile % 2;
                if panel < all.end {
                    // SAFETY: machines with tiles have these vectors.
                    unsafe { self.write(sums, row + tile / 2 * ROWS, panel) };
                }
            }
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

    /// Scales a tile's sums, adds the bias and writes the rows that there are.
    #[target_feature(enable = "avx512f")]
    fn write(&self, sums: &Sums, first: usize, panel: usize) {
        let rows = self.product.rows.saturating_sub(first).min(ROWS);
        let units = self.tiles.scales.as_deref();
        let scales = units.map(|_| int8_scales(self.product.panel(panel)));
        for (row, sums) in sums.0.iter().take(rows).enumerate() {
            let (place, bias, count) = self.product.place(first + row, panel);
            // SAFETY: sums, scales and bias are sixteen numbers each; `count` numbers from `place`
            // on are this thread's to write.
            unsafe {
                let bias = _mm512_loadu_ps(bias.as_ptr());
                let values = match (units, &scales) {
                    (Some(units), Some(scales)) => {
                        let sums = _mm512_cvtepi32_ps(_mm512_loadu_si512(sums.as_ptr().cast()));
                        let unit = _mm512_set1_ps(units[first + row]);
                        let scales = _mm512_mul_ps(_mm512_loadu_ps(scales.as_ptr()), unit);
                        _mm512_add_ps(_mm512_mul_ps(sums, scales), bias)
                    }
                    _ => _mm512_add_ps(_mm512_loadu_ps(sums.as_ptr().cast()), bias),
                };
                let mask = (u32::MAX >> (32 - count)) as u16;
                _mm512_mask_storeu_ps(place, mask, values);
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
