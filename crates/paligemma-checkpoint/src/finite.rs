//! `not_finite`: tensors with numbers that are none, found by reading all of them.

use burn::tensor::FloatDType;
use paligemma_packed::{PackedFormat, PackedLayout};

use crate::adapter::AdapterFile;
use crate::checkpoint::{Checkpoint, Elements};
use crate::load::Progress;
use crate::source::SourceTensor;

/// A tensor with numbers that are infinite or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFinite {
    /// Its name in the file.
    pub file_name: String,
    /// How many there are.
    pub count: usize,
}

impl Checkpoint {
    /// The tensors with numbers that are infinite or none (NaN), in the order of their paths.
    ///
    /// Reads every number and keeps none in memory; `progress` is told of every tensor. Of packed
    /// matrices the scales are looked at, since integers are always finite.
    pub fn not_finite(&self, mut progress: impl FnMut(Progress<'_>)) -> Vec<NotFinite> {
        let total = self.tensors.values().map(|tensor| tensor.data.len()).sum();
        let mut done = 0;
        let mut found = Vec::new();
        for tensor in self.tensors.values() {
            found.extend(not_finite(tensor));
            tensor.release();
            done += tensor.data.len();
            progress(Progress { tensor: &tensor.name, done, total });
        }
        found
    }
}

impl AdapterFile {
    /// The factors with numbers that are infinite or none, in the order of their paths.
    pub fn not_finite(&self) -> Vec<NotFinite> {
        self.factors.values().flatten().filter_map(not_finite).collect()
    }
}

fn not_finite(tensor: &SourceTensor) -> Option<NotFinite> {
    let count = count(tensor);
    (count > 0).then(|| NotFinite { file_name: tensor.name.clone(), count })
}

/// The numbers of a tensor that are infinite or none; of a packed one, those of its scales too.
fn count(tensor: &SourceTensor) -> usize {
    match tensor.elements {
        Elements::Float(dtype) => count_as(dtype, &tensor.data),
        Elements::Packed(format) => {
            let [outputs, inputs] = tensor.matrix();
            let dtype = match format {
                PackedFormat::Bf16 => FloatDType::BF16,
                PackedFormat::Int8 => FloatDType::F32,
                PackedFormat::Int4 => FloatDType::F16,
            };
            let layout = PackedLayout { format, outputs, inputs };
            layout.float_parts(&tensor.data).map(|part| count_as(dtype, part)).sum()
        }
    }
}

/// Numbers whose exponent has all bits set, which only infinities and NaN have (IEEE 754).
fn count_as(dtype: FloatDType, data: &[u8]) -> usize {
    let count16 = |exponent: u16| {
        let numbers = data.as_chunks().0.iter();
        numbers.filter(|bytes| u16::from_le_bytes(**bytes) & exponent == exponent).count()
    };
    match dtype {
        FloatDType::BF16 => count16(0x7f80),
        FloatDType::F16 => count16(0x7c00),
        FloatDType::F32 => {
            let numbers = data.as_chunks().0.iter();
            let exponent = 0x7f80_0000;
            numbers.filter(|bytes| u32::from_le_bytes(**bytes) & exponent == exponent).count()
        }
        // No file is read with others.
        _ => 0,
    }
}
