//! A panel or two times up to eight rows, by the instructions asked for. What the rows give is handed
//! on at once.

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
            Isa::Amx => unsafe { avx512::$kernel::<$($size,)* true>($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions of the machine")]
            // SAFETY: `Isa` names only what the machine was found to have.
            Isa::Avx512 | Isa::Avx512Bf16 => unsafe { avx512::$kernel::<$($size,)* false>($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions of the machine")]
            // SAFETY: `Isa` names only what the machine was found to have.
            Isa::Avx2 => unsafe { avx2::$kernel::<$($size),*>($($argument),*) },
            _ => plain::$kernel::<$($size,)* { cfg!(target_arch = "aarch64") }>($($argument),*),
        }
    };
}

/// So many rows.
fn all<T, const N: usize>(rows: &[T]) -> &[T; N] {
    rows.try_into().expect("there are from one to eight rows")
}

/// `sum over k of x[row][k] * w[k]`, for up to eight rows.
pub(crate) fn bf16(isa: Isa, x: &[&[f32]], panel: &[u8], take: impl FnOnce(&[[f32; LANES]])) {
    with_count!(x.len(), N => take(&by_isa!(isa, bf16<N>(all(x), panel))));
}

/// The same in integers, for each of `P` panels; each row comes with its sum.
pub(crate) fn int8<const P: usize>(
    isa: Isa,
    x: &[(&[i8], i32)],
    panels: [&[u8]; P],
    take: impl FnOnce([&[[i32; LANES]]; P]),
) {
    with_count!(x.len(), N => {
        let sums = by_isa!(isa, int8<N, P>(all(x), panels));
        take(sums.each_ref().map(|rows: &[_; N]| rows.as_slice()));
    });
}

/// The same for 4-bit weights, their scales applied; each row comes with the sums of its groups.
pub(crate) fn int4(
    isa: Isa,
    x: &[(&[i8], &[i32])],
    panel: &[u8],
    take: impl FnOnce(&[[f32; LANES]]),
) {
    with_count!(x.len(), N => take(&by_isa!(isa, int4<N>(all(x), panel))));
}
