//! Matrix tiles (AMX): 16 x 16 sums a step from 64 bytes of each operand's rows.
#![expect(unsafe_code, reason = "instructions of the machine")]

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};

use crate::layout::LANES;
use crate::pack::round_to_bf16;
use crate::product::FEW;

/// Rows of a tile; each has 64 bytes.
pub(super) const ROWS: usize = 16;

/// Bytes of what comes next that are fetched with each step of [`multiply`].
pub(super) const FETCHED: usize = 256;

/// 64 bytes: a row of a tile.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u32; 16]);

pub(super) const ZEROS: Line = Line([0; 16]);

/// Sums of a tile, `[16 rows][16 columns]`: floats, or the bits of integers.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Sums(pub(super) [[f32; LANES]; ROWS]);

impl Sums {
    pub(super) const ZEROS: Self = Self([[0.0; LANES]; ROWS]);
}

/// Which of the machine's products of tiles.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
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

/// What lines hold, four bytes at a time.
pub(super) fn words(lines: &mut [Line]) -> &mut [[u32; 16]] {
    // SAFETY: a line is 16 words and nothing else.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len()) }
}

/// The bits of the nearest bfloat16; what is not a number stays none.
#[inline(always)]
pub(super) fn nearest(value: f32) -> u32 {
    if value.is_nan() { 0x7FC0 } else { round_to_bf16(value) }
}

/// [`nearest`] of every number.
#[inline(always)]
pub(super) fn round(x: &[f32], out: &mut [u16]) {
    for (value, out) in x.iter().zip(out) {
        *out = nearest(*value) as u16;
    }
}

/// Sets this thread's tiles to rows of 64 bytes each, and lets go of them at the end.
pub(crate) struct TileSession;

impl TileSession {
    /// Tiles of 16 rows.
    pub(super) fn new() -> Self {
        Self::with_rows([ROWS; 8])
    }

    /// Tiles for [`few_int8`]: sums and activations have `rows`, weights sixteen.
    pub(crate) fn few(rows: usize) -> Self {
        Self::with_rows([rows, rows, ROWS, ROWS, ROWS, ROWS, ROWS, ROWS])
    }

    fn with_rows(rows: [usize; 8]) -> Self {
        let mut configuration = [0_u8; 64];
        configuration[0] = 1;
        for (tile, rows) in rows.into_iter().enumerate() {
            configuration[16 + 2 * tile] = 64;
            configuration[48 + tile] = rows as u8;
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
pub(super) struct Operands {
    pub(super) rows: [*const Line; 2],
    pub(super) panels: [*const u8; 2],
    /// How many tiles of 1024 bytes each has.
    pub(super) steps: usize,
    /// Where what comes next lies: [`FETCHED`] bytes of it are fetched at each step.
    pub(super) next: *const u8,
}

/// Adds the products of the operands to four tiles of sums, or begins them if they are `fresh`.
///
/// # Safety
/// The operands are as long as they say, one step at least; a [`TileSession`] is open on this
/// thread.
pub(super) unsafe fn multiply(kind: Kind, operands: &Operands, sums: &mut [Sums; 4], fresh: bool) {
    macro_rules! multiply {
        ($product:literal) => {
            asm!(
                "test {fresh}, {fresh}",
                "jnz 3f",
                ".irp tile, 0, 1, 2, 3",
                "tileloadd tmm\\tile, [{sums} + {stride} + 1024 * \\tile]",
                ".endr",
                "jmp 2f",
                "3:",
                ".irp tile, 0, 1, 2, 3",
                "tilezero tmm\\tile",
                ".endr",
                "2:",
                ".irp line, 0, 64, 128, 192",
                "prefetcht1 [{next} + \\line]",
                ".endr",
                // Rows come from the second cache: those of the next step, meanwhile, into the first.
                ".set ahead, 1024",
                ".rept 16",
                "prefetcht0 [{a} + ahead]",
                "prefetcht0 [{b} + ahead]",
                ".set ahead, ahead + 64",
                ".endr",
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
                ".irp tile, 0, 1, 2, 3",
                "tilestored [{sums} + {stride} + 1024 * \\tile], tmm\\tile",
                ".endr",
                a = inout(reg) operands.rows[0] => _,
                b = inout(reg) operands.rows[1] => _,
                c = inout(reg) operands.panels[0] => _,
                d = inout(reg) operands.panels[1] => _,
                steps = inout(reg) operands.steps => _,
                next = inout(reg) operands.next => _,
                fresh = in(reg) u64::from(fresh),
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

/// Sums of up to eight rows of 8-bit activations with one panel, which is read once from end to end.
///
/// # Shapes
/// - `x`: `[rows, depth]`
/// - output: `[rows, 16]`, then zeros
///
/// # Panics
/// If the panel has another depth than the rows, or there are no rows or too many.
///
/// # Safety
/// A [`TileSession::few`] of as many rows is open on this thread.
pub(crate) unsafe fn few_int8(rows: usize, x: &[i8], panel: &[u8]) -> [[i32; LANES]; FEW] {
    let depth = x.len() / rows;
    let whole = depth > 0 && depth.is_multiple_of(64);
    assert!(rows <= FEW && depth * LANES == panel.len() && whole);
    let mut sums = [[0; LANES]; FEW];
    // SAFETY: see `multiply`; the session gives tiles their rows; a step reads 64 bytes of every row and sixteen lines of the panel.
    unsafe {
        asm!(
            "tilezero tmm0",
            "2:",
            ".set ahead, 0",
            ".rept 16",
            "prefetcht0 [{panel} + {near} + ahead]",
            "prefetcht1 [{panel} + {far} + ahead]",
            ".set ahead, ahead + 64",
            ".endr",
            "tileloadd tmm1, [{x} + {depth}]",
            "tileloadd tmm2, [{panel} + {line}]",
            "tdpbssd tmm0, tmm1, tmm2",
            "add {x}, 64",
            "add {panel}, 1024",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {line}], tmm0",
            near = const 2048,
            far = const 8192,
            x = inout(reg) x.as_ptr() => _,
            panel = inout(reg) panel.as_ptr() => _,
            steps = inout(reg) depth / 64 => _,
            sums = in(reg) sums.as_mut_ptr(),
            depth = in(reg) depth,
            line = in(reg) 64_usize,
            options(nostack),
        );
    }
    sums
}
