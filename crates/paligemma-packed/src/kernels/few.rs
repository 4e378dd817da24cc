//! A panel or two times up to eight rows, by the instructions asked for. What the rows give is handed
//! on at once.

use std::array::from_fn;

use super::plain;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use crate::isa::Isa;
use crate::layout::LANES;

/// Evaluates with the number of rows as a constant, so that a kernel's sums stay in registers.
macro_rules! with_count {
    ($count:expr, $rows:ident => $work:expr) => {
        match $count {
            1 => with_count!(@ 1, $rows, $work),
            2 => with_count!(@ 2, $rows, $work),
            3 => with_count!(@ 3, $rows, $work),
            4 => with_count!(@ 4, $rows, $work),
            5 => with_count!(@ 5, $rows, $work),
            6 => with_count!(@ 6, $rows, $work),
            7 => with_count!(@ 7, $rows, $work),
            _ => with_count!(@ 8, $rows, $work),
        }
    };
    (@ $number:literal, $rows:ident, $work:expr) => {{
        const $rows: usize = $number;
        $work
    }};
}

/// Calls the kernel of an instruction set.
macro_rules! by_isa {
    ($isa:expr, $kernel:ident<$($size:ident),*>($($argument:expr),*)) => {
        match $isa {
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions of the machine")]
            // SAFETY: `Isa` names only what the machine was found to have.
            Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => unsafe { avx512::$kernel::<$($size),*>($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions of the machine")]
            // SAFETY: `Isa` names only what the machine was found to have.
            Isa::Avx2 => unsafe { avx2::$kernel::<$($size),*>($($argument),*) },
            _ => plain::$kernel::<$($size,)* { cfg!(target_arch = "aarch64") }>($($argument),*),
        }
    };
}

/// `sum over k of x[row][k] * w[k]`, for the rows that `x` gives.
pub(crate) fn bf16<'a>(
    isa: Isa,
    count: usize,
    x: impl Fn(usize) -> &'a [f32],
    panel: &[u8],
    take: impl FnOnce(&[[f32; LANES]]),
) {
    with_count!(count, N => take(&by_isa!(isa, bf16<N>(from_fn(&x), panel))));
}

/// The same in integers, for each of `P` panels; `x` also gives the sum of each row.
pub(crate) fn int8<'a, const P: usize>(
    isa: Isa,
    count: usize,
    x: impl Fn(usize) -> (&'a [i8], i32),
    panels: [&[u8]; P],
    take: impl FnOnce([&[[i32; LANES]]; P]),
) {
    with_count!(count, N => {
        let sums = by_isa!(isa, int8<N, P>(from_fn(&x), panels));
        take(sums.each_ref().map(|rows: &[_; N]| rows.as_slice()));
    });
}

/// The same for 4-bit weights, their scales applied; `x` also gives the sums of each row's groups.
pub(crate) fn int4<'a>(
    isa: Isa,
    count: usize,
    x: impl Fn(usize) -> (&'a [i8], &'a [i32]),
    panel: &[u8],
    take: impl FnOnce(&[[f32; LANES]]),
) {
    with_count!(count, N => take(&by_isa!(isa, int4<N>(from_fn(&x), panel))));
}
