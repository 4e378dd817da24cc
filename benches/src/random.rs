//! Random checkpoints: seeded weights in the published format, names and shapes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use burn::tensor::{AllocationProperty, Bytes};
use burn_flex::{Flex, FlexDevice};
use clap::ValueEnum;
use half::{bf16, f16};
use paligemma::{Model, PackedFormat};
use paligemma_checkpoint::{
    Held, LAYOUTS, LoadError, PackedPart, PaliGemmaConfig, Pending, SaveError, held_parameters,
    write_checkpoint, write_packed,
};
use rand::SeedableRng;
use rand::distr::Distribution;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;
use safetensors::Dtype;

/// Elements that one stream of random numbers fills. The weights depend on it, but not on the
/// number of threads.
const BLOCK: usize = 1 << 18;

/// The deviation of biases: small beside activations of about 1, yet seen if left out.
const BIAS: f32 = 0.02;

/// The type of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// 32 bits
    F32,
    /// 16 bits, 11 of them precision
    F16,
    /// 16 bits with the range of f32, as published
    Bf16,
    /// What `paligemma convert --dtype int8` makes of the checkpoint in bf16
    Int8,
    /// What `paligemma convert --dtype int4` makes of the checkpoint in bf16
    Int4,
}

impl Format {
    /// The type that numbers are rounded to when they are drawn.
    fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 | Self::Int8 | Self::Int4 => Dtype::BF16,
        }
    }

    fn packed(self) -> Option<PackedFormat> {
        match self {
            Self::Int8 => Some(PackedFormat::Int8),
            Self::Int4 => Some(PackedFormat::Int4),
            Self::F32 | Self::F16 | Self::Bf16 => None,
        }
    }
}

/// Why a random checkpoint was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RandomError {
    /// The folder is in use.
    #[error("{} is not empty; name a new folder", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// The folder cannot be listed.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The folder.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The files cannot be written.
    #[error(transparent)]
    Save(#[from] SaveError),
}

/// Writes a checkpoint of random weights to `folder`: `model.safetensors`, `config.json` and the
/// embedded model's `tokenizer.json`. Returns the number of its parameters.
///
/// Products get weights of deviation `1 / sqrt(fan_in)`, which keeps activations near 1 through
/// any number of layers; norms are the identity. Equal seeds give equal files on every machine.
/// The files appear when all are complete. `progress` is told of bytes written.
///
/// # Errors
/// If the folder exists and is not empty, or a file cannot be written.
pub fn write(
    config: &PaliGemmaConfig,
    (seed, format): (u64, Format),
    folder: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<usize, RandomError> {
    let failed = |source| RandomError::Read { path: folder.to_owned(), source };
    if folder.exists() && fs::read_dir(folder).map_err(failed)?.next().is_some() {
        return Err(RandomError::Occupied { path: folder.to_owned() });
    }
    let tensors = tensors(config, (seed, format), progress);
    let parameters = tensors.iter().map(|(_, tensor)| tensor.elements()).sum();
    let others = [
        ("config.json".to_owned(), config.to_json().into_bytes()),
        ("tokenizer.json".to_owned(), paligemma::pocket::TOKENIZER.to_vec()),
    ];
    if let Some(format) = format.packed() {
        let parts = tensors.into_iter().map(|(held, tensor)| tensor.part(held, folder));
        write_packed(folder, format, parts.collect(), &others)?;
        return Ok(parameters);
    }
    let pending = tensors.into_iter().map(|(held, tensor)| Pending {
        name: LAYOUTS[0].file_name(&held.path).unwrap_or(held.path),
        shape: held.shape,
        dtype: format.dtype(),
        read: Box::new(move || Ok(tensor.draw_all())),
    });
    write_checkpoint(folder, pending.collect(), BTreeMap::new(), &others)?;
    Ok(parameters)
}

/// The bytes of the weights that [`write()`] draws, before any of them are packed.
pub fn weight_bytes(config: &PaliGemmaConfig, format: Format) -> u64 {
    let tensors = tensors(config, (0, format), &|_| ());
    let elements: usize = tensors.iter().map(|(_, tensor)| tensor.elements()).sum();
    (elements * format.dtype().bitsize() / 8) as u64
}

/// Every tensor of the model, none of them drawn yet.
fn tensors<'a>(
    config: &PaliGemmaConfig,
    (seed, format): (u64, Format),
    progress: &'a (dyn Fn(u64) + Sync),
) -> Vec<(Held, RandomTensor<'a>)> {
    let model = Model::<Flex>::new(&config.vision, &config.text, &FlexDevice);
    let tensor = |(index, held): (usize, Held)| {
        let (law, shape) = (Law::of(&held.path, &held.shape), held.shape.clone());
        (held, RandomTensor { index, shape, law, seed, format, progress })
    };
    held_parameters::<Flex, _>(model, format.packed()).into_iter().enumerate().map(tensor).collect()
}

/// How the values of a tensor are made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Law {
    Constant(f32),
    /// Normal around zero, of this deviation.
    Normal(f32),
}

impl Law {
    fn of(path: &str, shape: &[usize]) -> Self {
        match (path.rsplit('.').next(), shape) {
            (Some("bias"), _) => Self::Normal(BIAS),
            // Layer norms multiply by the weight, Gemma's norms by one more than the weight.
            (_, [_]) if path.starts_with("vision_tower.") => Self::Constant(1.0),
            (_, [] | [_]) => Self::Constant(0.0),
            (_, [_, inputs @ ..]) => {
                Self::Normal((inputs.iter().product::<usize>() as f32).sqrt().recip())
            }
        }
    }
}

/// A tensor whose values are drawn when they are written.
struct RandomTensor<'a> {
    index: usize,
    shape: Vec<usize>,
    law: Law,
    seed: u64,
    format: Format,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl<'a> RandomTensor<'a> {
    /// The tensor in a packed file.
    fn part(self, held: Held, folder: &Path) -> PackedPart<'a> {
        let (to_read, path) = (held.clone(), folder.to_owned());
        PackedPart { held, read: Box::new(move || self.draw_held(&to_read, &path)) }
    }

    fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// All elements as they stand in the file.
    fn draw_all(&self) -> Bytes {
        let bytes = match self.format {
            Format::F32 => self.draw(f32::to_le_bytes),
            Format::F16 => self.draw(|value| f16::from_f32(value).to_le_bytes()),
            Format::Bf16 | Format::Int8 | Format::Int4 => {
                self.draw(|value| bf16::from_f32(value).to_le_bytes())
            }
        };
        (self.progress)(bytes.len() as u64);
        Bytes::from_bytes_vec(bytes)
    }

    /// The same as a packed file holds it.
    fn draw_held(&self, held: &Held, folder: &Path) -> Result<Bytes, SaveError> {
        let drawn = self.draw_all();
        let numbers = drawn.as_chunks::<2>().0;
        let number = |bytes: &[u8; 2]| bf16::from_le_bytes(*bytes).to_f32();
        let Some(layout) = held.packed else {
            let wide = numbers.iter().flat_map(|bytes| number(bytes).to_le_bytes());
            return Ok(Bytes::from_bytes_vec(wide.collect()));
        };
        let row = |row: usize, out: &mut [f32]| {
            let numbers = &numbers[row * layout.inputs..][..layout.inputs];
            out.iter_mut().zip(numbers).for_each(|(out, bytes)| *out = number(bytes));
        };
        let failed =
            |source| LoadError::Pack { tensor: held.path.clone(), path: folder.to_owned(), source };
        let packed = bytes::Bytes::from_owner(layout.pack(row).map_err(failed)?);
        Ok(Bytes::from_shared(packed, AllocationProperty::Native))
    }

    fn draw<const N: usize>(&self, encode: impl Fn(f32) -> [u8; N] + Sync) -> Vec<u8> {
        let mut elements = vec![[0; N]; self.elements()];
        elements.par_chunks_mut(BLOCK).enumerate().for_each(|(block, elements)| {
            let mut random = ChaCha8Rng::seed_from_u64(self.seed);
            random.set_stream(((self.index as u64) << 32) | block as u64);
            elements.fill_with(|| match self.law {
                Law::Constant(value) => encode(value),
                Law::Normal(deviation) => {
                    let value: f32 = StandardNormal.sample(&mut random);
                    encode(value * deviation)
                }
            });
        });
        elements.into_flattened()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_are_the_identity_and_products_keep_the_scale() {
        let cases: [(&str, &[usize], Law); 6] = [
            ("vision_tower.post_layernorm.weight", &[64], Law::Constant(1.0)),
            ("vision_tower.post_layernorm.bias", &[64], Law::Normal(BIAS)),
            ("language_model.norm.weight", &[64], Law::Constant(0.0)),
            ("language_model.layers.0.mlp.up_proj.weight", &[128, 64], Law::Normal(0.125)),
            ("language_model.embed_tokens.weight", &[1664, 256], Law::Normal(0.0625)),
            ("vision_tower.embeddings.patch_embedding.weight", &[9, 1, 2, 2], Law::Normal(0.5)),
        ];
        for (path, shape, expected) in cases {
            assert_eq!(Law::of(path, shape), expected, "{path}");
        }
    }

    #[test]
    fn a_tensor_is_normal_and_its_blocks_differ() {
        let shape = vec![2, BLOCK];
        let law = Law::Normal(2.0);
        let make = |index, seed| {
            let tensor = RandomTensor {
                index,
                shape: shape.clone(),
                law,
                seed,
                format: Format::F32,
                progress: &|_| (),
            };
            tensor.draw(f32::to_le_bytes)
        };
        let bytes = make(3, 7);
        let (values, _) = bytes.as_chunks::<4>();
        let values: Vec<f64> = values.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let deviation = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
        // Five deviations of these estimates over 2^19 draws.
        assert!(mean.abs() < 5.0 * 2.0 / count.sqrt(), "mean {mean}");
        assert!((deviation - 2.0).abs() < 5.0 * 2.0 / (2.0 * count).sqrt(), "{deviation}");
        let half = bytes.len() / 2;
        assert_ne!(bytes[..half], bytes[half..]);
        assert_eq!(bytes, make(3, 7));
        assert_ne!(bytes, make(4, 7));
        assert_ne!(bytes, make(3, 8));
    }
}
