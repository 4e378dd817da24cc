//! One panel times up to eight rows, by the instructions asked for.

use std::array::from_fn;

use super::plain;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use crate::isa::Isa;
use crate::layout::LANES;
use crate::product::FEW;

/// Results of up to [`FEW`] rows; those beyond the rows asked for are zeros.
type Rows<T> = [[T; LANES]; FEW];

/// Calls a kernel with the number of rows as a constant, so that its sums stay in registers.
macro_rules! with_count {
    ($count:expr, $rows:ident => $call:expr) => {
        match $count {
            1 => with_count!(@ 1, $rows, $call),
            2 => with_count!(@ 2, $rows, $call),
            3 => with_count!(@ 3, $rows, $call),
            4 => with_count!(@ 4, $rows, $call),
            5 => with_count!(@ 5, $rows, $call),
            6 => with_count!(@ 6, $rows, $call),
            7 => with_count!(@ 7, $rows, $call),
            _ => with_count!(@ 8, $rows, $call),
        }
    };
    (@ $number:literal, $rows:ident, $call:expr) => {{
        const $rows: usize = $number;
        let some = $call;
        from_fn(|row| some.get(row).copied().unwrap_or_default())
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
) -> Rows<f32> {
    with_count!(count, N => by_isa!(isa, bf16(from_fn(&x), panel), N))
}

/// The same in integers; `x` also gives the sum of each row.
pub(crate) fn int8<'a>(
    isa: Isa,
    count: usize,
    x: impl Fn(usize) -> (&'a [i8], i32),
    weights: &[u8],
) -> Rows<i32> {
    with_count!(count, N => by_isa!(isa, int8(from_fn(&x), weights), N))
}

/// The same for 4-bit weights, their scales applied; `x` also gives the sums of each row's groups.
pub(crate) fn int4<'a>(
    isa: Isa,
    count: usize,
    x: impl Fn(usize) -> (&'a [i8], &'a [i32]),
    panel: &[u8],
) -> Rows<f32> {
    with_count!(count, N => by_isa!(isa, int4(from_fn(&x), panel), N))
}
