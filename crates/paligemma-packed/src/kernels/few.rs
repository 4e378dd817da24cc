//! One panel times up to eight rows, by the instructions asked for. What each row gives is handed
//! on as it comes, with its number.

use std::array::from_fn;

use super::plain;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use crate::isa::Isa;
use crate::layout::LANES;

/// Calls a kernel with the number of rows as a constant, so that its sums stay in registers, and
/// hands on what it makes of each.
macro_rules! with_count {
    ($count:expr, $take:ident, $rows:ident => $call:expr) => {
        match $count {
            1 => with_count!(@ 1, $take, $rows, $call),
            2 => with_count!(@ 2, $take, $rows, $call),
            3 => with_count!(@ 3, $take, $rows, $call),
            4 => with_count!(@ 4, $take, $rows, $call),
            5 => with_count!(@ 5, $take, $rows, $call),
            6 => with_count!(@ 6, $take, $rows, $call),
            7 => with_count!(@ 7, $take, $rows, $call),
            _ => with_count!(@ 8, $take, $rows, $call),
        }
    };
    (@ $number:literal, $take:ident, $rows:ident, $call:expr) => {{
        const $rows: usize = $number;
        let all = $call;
        all.into_iter().enumerate().for_each(|(row, values)| $take(row, values));
    }};
}

/// Calls the kernel of an instruction set.
macro_rules! by_isa {
    ($isa:expr, $kernel:ident($($argument:expr),*), $rows:ident) => {
        match $isa {
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions of the machine")]
            // SAFETY: `Isa` names only what the machine was found to have.
            Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => unsafe { avx512::$kernel::<$rows>($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions of the machine")]
            // SAFETY: `Isa` names only what the machine was found to have.
            Isa::Avx2 => unsafe { avx2::$kernel::<$rows>($($argument),*) },
            _ => plain::$kernel::<$rows, { cfg!(target_arch = "aarch64") }>($($argument),*),
        }
    };
}

/// `sum over k of x[row][k] * w[k]`, for the rows that `x` gives.
pub(crate) fn bf16<'a>(
    isa: Isa,
    count: usize,
    x: impl Fn(usize) -> &'a [f32],
    panel: &[u8],
    mut take: impl FnMut(usize, [f32; LANES]),
) {
    with_count!(count, take, N => by_isa!(isa, bf16(from_fn(&x), panel), N));
}

/// The same in integers; `x` also gives the sum of each row.
pub(crate) fn int8<'a>(
    isa: Isa,
    count: usize,
    x: impl Fn(usize) -> (&'a [i8], i32),
    weights: &[u8],
    mut take: impl FnMut(usize, [i32; LANES]),
) {
    with_count!(count, take, N => by_isa!(isa, int8(from_fn(&x), weights), N));
}

/// The same for 4-bit weights, their scales applied; `x` also gives the sums of each row's groups.
pub(crate) fn int4<'a>(
    isa: Isa,
    count: usize,
    x: impl Fn(usize) -> (&'a [i8], &'a [i32]),
    panel: &[u8],
    mut take: impl FnMut(usize, [f32; LANES]),
) {
    with_count!(count, take, N => by_isa!(isa, int4(from_fn(&x), panel), N));
}
