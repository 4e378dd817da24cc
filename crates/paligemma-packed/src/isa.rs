//! Which instructions this machine has.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// The instructions that a product with packed weights uses, and attention on tiles. Results differ
/// by rounding only. Products of f32 and elementwise functions have kinds of their own, and always
/// the machine's best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// What the program was compiled for: SSE2 on x86-64, NEON on aarch64.
    Plain,
    /// 32-byte vectors, fused multiply-add.
    Avx2,
    /// 64-byte vectors with 8-bit dot products (VNNI).
    Avx512,
    /// The same, with products of bfloat16 pairs for many rows.
    Avx512Bf16,
    /// Matrix tiles (AMX) for many rows, and [`Isa::Avx512`] for few.
    Amx,
}

/// The environment variable that holds the instructions down to those it names.
pub const ISA_VARIABLE: &str = "PALIGEMMA_ISA";

impl Isa {
    const NAMED: [Self; 5] = [Self::Plain, Self::Avx2, Self::Avx512, Self::Avx512Bf16, Self::Amx];

    /// The best that this machine has, or what `PALIGEMMA_ISA` names if that is less.
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            let asked = Self::asked().ok().flatten();
            asked.unwrap_or(Self::Amx).min(Self::detect())
        })
    }

    /// What `PALIGEMMA_ISA` names, if it is set.
    ///
    /// # Errors
    /// If it names nothing that there is; [`Isa::best`] then takes no notice of it.
    pub fn asked() -> Result<Option<Self>, String> {
        let Ok(name) = std::env::var(ISA_VARIABLE) else { return Ok(None) };
        name.parse().map(Some).map_err(|error| format!("{ISA_VARIABLE}: {error}"))
    }

    /// Everything up to what this machine has.
    pub fn all() -> Vec<Self> {
        Self::NAMED.into_iter().filter(|&isa| isa <= Self::detect()).collect()
    }

    #[cfg(target_arch = "x86_64")]
    fn detect() -> Self {
        static FOUND: OnceLock<Isa> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            let (avx512, bf16) = (avx2 && avx512, is_x86_feature_detected!("avx512bf16"));
            match (avx2, avx512, bf16, crate::kernels::tiles::enable()) {
                (_, true, true, true) => Self::Amx,
                (_, true, true, false) => Self::Avx512Bf16,
                (_, true, false, _) => Self::Avx512,
                (true, false, ..) => Self::Avx2,
                _ => Self::Plain,
            }
        })
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn detect() -> Self {
        Self::Plain
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512bf16",
            Self::Amx => "amx",
        })
    }
}

impl FromStr for Isa {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::NAMED.into_iter().find(|isa| isa.to_string() == name);
        found.ok_or_else(|| {
            let names = "plain, avx2, avx512, avx512bf16 or amx";
            format!("unknown instructions `{name}`: use {names}")
        })
    }
}
