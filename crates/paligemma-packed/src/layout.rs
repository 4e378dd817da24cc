//! Where each weight lies in a packed matrix.

use std::fmt;
use std::str::FromStr;

/// Output channels of a panel: the lanes of the widest vectors, and the columns of a tile.
pub(crate) const LANES: usize = 16;
/// Input channels are padded with zeros to a multiple of this.
pub(crate) const STEP: usize = 64;
/// Input channels of a 4-bit weight's group, which share a scale.
pub(crate) const GROUP: usize = 32;
/// Bytes of [`STEP`] input channels of a 4-bit panel: weights, then two groups of f16 scales.
pub(crate) const INT4_BLOCK: usize = STEP * LANES / 2 + 2 * LANES * 2;

/// The most input channels: sums of as many products of 8 bits fit 32 bits.
pub const MOST_INPUTS: usize = 1 << 16;

/// How weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PackedFormat {
    /// bfloat16; activations stay f32 for few rows and become bfloat16 on matrix units.
    Bf16,
    /// 8-bit integers with one scale per output channel; activations become 8-bit integers with
    /// one scale per row.
    Int8,
    /// 4-bit integers with one scale per 32 input channels of an output channel; activations
    /// become 8-bit integers for few rows, bfloat16 on matrix units.
    Int4,
}

impl fmt::Display for PackedFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        })
    }
}

impl FromStr for PackedFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "bf16" => Ok(Self::Bf16),
            "int8" => Ok(Self::Int8),
            "int4" => Ok(Self::Int4),
            _ => Err(format!("unknown packed format `{name}`: use bf16, int8 or int4")),
        }
    }
}

/// Shape and format of a packed matrix.
///
/// The bytes are panels of 16 output channels, one after the other. Within a panel the input
/// channels advance in steps that fill 64 bytes, channel by channel:
///
/// | format | 64 bytes hold | after the panel's weights |
/// |---|---|---|
/// | bf16 | `[16 outputs][2 inputs]` | nothing |
/// | int8 | `[16 outputs][4 inputs]` | 16 scales, f32 |
/// | int4 | `[16 outputs][4 inputs]`, low halves, then the next 4 inputs in the high halves; stored plus 8 | after every 64 inputs `[2 groups][16]` scales, f16 |
///
/// This is both what vector dot products want (16 lanes, one 4-byte piece of the activations for
/// all of them) and the layout of a matrix unit's right-hand tile (16 rows of 64 bytes), so one
/// file serves every CPU. Numbers are little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PackedLayout {
    /// How weights are stored.
    pub format: PackedFormat,
    /// Rows of the published `[out, in]` matrix.
    pub outputs: usize,
    /// Columns of the published `[out, in]` matrix.
    pub inputs: usize,
}

impl PackedLayout {
    /// Number of bytes of the packed matrix, a multiple of 64.
    pub fn bytes(&self) -> usize {
        self.panels() * self.panel_bytes()
    }

    /// The parts of a packed matrix that hold floating point numbers: the weights themselves of
    /// [`PackedFormat::Bf16`], scales in f32 of [`PackedFormat::Int8`] and in f16 of
    /// [`PackedFormat::Int4`].
    pub fn float_parts<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (block, integers) = match self.format {
            PackedFormat::Bf16 => (self.panel_bytes(), 0),
            PackedFormat::Int8 => (self.panel_bytes(), self.depth() * LANES),
            PackedFormat::Int4 => (INT4_BLOCK, STEP * LANES / 2),
        };
        bytes.chunks_exact(block.max(1)).map(move |block| &block[integers..])
    }

    pub(crate) fn panels(&self) -> usize {
        self.outputs.div_ceil(LANES)
    }

    /// Input channels with the padding.
    pub(crate) fn depth(&self) -> usize {
        self.inputs.next_multiple_of(STEP)
    }

    pub(crate) fn panel_bytes(&self) -> usize {
        match self.format {
            PackedFormat::Bf16 => self.depth() * LANES * 2,
            PackedFormat::Int8 => self.depth() * LANES + 4 * LANES,
            PackedFormat::Int4 => self.depth() / STEP * INT4_BLOCK,
        }
    }
}
