//! A model on some device behind an interface of plain data, so that callers know no backend.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use paligemma_checkpoint::{Checkpoint, Elements};
use paligemma_nn::{NnBackend, PackedFormat};

use crate::{DeviceSpec, Error, Model, Prompt, Session};

/// The format that a model is held in. With `bf16`, `int8` and `int4` on `flex`, matrices are
/// packed and everything between them is f32; otherwise weights and activations have one type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dtype {
    /// On `flex` bf16 for files of 16 bits, and the files' own format if they are packed; on a GPU
    /// the files' type, if it computes in it; otherwise f32.
    #[default]
    Auto,
    /// 32 bits.
    F32,
    /// 16 bits, 11 of them precision.
    F16,
    /// 16 bits with the range of f32.
    Bf16,
    /// 8 bits, with a scale per output channel; on `flex` only.
    Int8,
    /// 4 bits, with a scale per 32 input channels, in the decoder, and [`Dtype::Int8`] elsewhere; on
    /// `flex` only.
    Int4,
}

/// How a model is held on its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Weights and activations in one type.
    Dense(FloatDType),
    /// Packed matrices, all else in f32.
    Packed(PackedFormat),
}

impl Storage {
    /// The type of activations.
    pub fn activations(self) -> DType {
        match self {
            Self::Dense(dtype) => dtype.into(),
            Self::Packed(_) => DType::F32,
        }
    }
}

impl Dtype {
    /// How `device` holds a model in this dtype; none if the device has no such way, and of
    /// [`Dtype::Auto`], which depends on the files. Not every device computes in every dense type.
    pub fn on(self, device: DeviceSpec) -> Option<Storage> {
        let packed = |format| match device {
            DeviceSpec::Flex => Some(Storage::Packed(format)),
            _ => None,
        };
        match self {
            Self::Auto => None,
            Self::F32 => Some(Storage::Dense(FloatDType::F32)),
            Self::F16 => Some(Storage::Dense(FloatDType::F16)),
            Self::Bf16 => packed(PackedFormat::Bf16).or(Some(Storage::Dense(FloatDType::BF16))),
            Self::Int8 => packed(PackedFormat::Int8),
            Self::Int4 => packed(PackedFormat::Int4),
        }
    }
}

impl Dtype {
    /// How a checkpoint is held in this dtype on a device, which computes in some dense types.
    ///
    /// # Errors
    /// If the device has no such way.
    pub fn storage(
        self,
        device: DeviceSpec,
        checkpoint: &Checkpoint,
        computes: impl Fn(FloatDType) -> bool,
    ) -> Result<Storage, Error> {
        if self == Self::Auto {
            return Ok(best(device, checkpoint, computes));
        }
        let possible = |storage: &Storage| match *storage {
            Storage::Dense(dtype) => computes(dtype),
            Storage::Packed(_) => true,
        };
        self.on(device).filter(possible).ok_or(Error::Dtype { device, dtype: self })
    }
}

/// What serves the files and the device best.
fn best(
    device: DeviceSpec,
    checkpoint: &Checkpoint,
    computes: impl Fn(FloatDType) -> bool,
) -> Storage {
    let file = usual(checkpoint);
    match (device, checkpoint.packed_format()) {
        (DeviceSpec::Flex, Some(format)) => Storage::Packed(format),
        (DeviceSpec::Flex, None) if file != FloatDType::F32 => Storage::Packed(PackedFormat::Bf16),
        // burn-ndarray computes in f32 only.
        _ if computes(file) => Storage::Dense(file),
        _ => Storage::Dense(FloatDType::F32),
    }
}

/// The float type of most numbers in the files: some are of another, such as norms.
fn usual(checkpoint: &Checkpoint) -> FloatDType {
    let count = |dtype: FloatDType| -> usize {
        let such = checkpoint.tensors().filter(|tensor| tensor.elements == Elements::Float(dtype));
        such.map(|tensor| tensor.shape.iter().product::<usize>()).sum()
    };
    let types = [FloatDType::F16, FloatDType::BF16, FloatDType::F32];
    types.into_iter().max_by_key(|&dtype| count(dtype)).unwrap_or(FloatDType::F32)
}

impl From<Storage> for Dtype {
    fn from(storage: Storage) -> Self {
        match storage {
            Storage::Dense(FloatDType::F16) => Self::F16,
            Storage::Dense(FloatDType::BF16) | Storage::Packed(PackedFormat::Bf16) => Self::Bf16,
            Storage::Packed(PackedFormat::Int8) => Self::Int8,
            Storage::Packed(PackedFormat::Int4) => Self::Int4,
            Storage::Dense(_) => Self::F32,
        }
    }
}

impl FromStr for Dtype {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "bf16" => Ok(Self::Bf16),
            "int8" => Ok(Self::Int8),
            "int4" => Ok(Self::Int4),
            _ => Err(format!("unknown dtype `{name}`: use auto, f32, f16, bf16, int8 or int4")),
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        })
    }
}

/// One row of a batch: its pictures' features `[1, N, D]` and its text tokens.
pub(crate) struct HostPrompt<'a> {
    pub(crate) features: &'a TensorData,
    pub(crate) text: &'a [u32],
}

/// A model on its device.
pub(crate) trait Engine: Send + Sync {
    /// Features of all pictures as one row, `[1, I * N, D]`; `pixels` is `[I, 3, size, size]`.
    fn encode(&self, pixels: Vec<f32>, pictures: usize, size: usize) -> TensorData;

    /// The same, with [`Model::encode_pooled`]'s vectors, `[I, D_vision]` in f32.
    fn encode_pooled(
        &self,
        pixels: Vec<f32>,
        pictures: usize,
        size: usize,
    ) -> (TensorData, Vec<f32>);

    /// Reads prompts, with room for `room` more tokens each.
    fn prefill<'a>(&'a self, prompts: &[HostPrompt<'_>], room: usize) -> Box<dyn Reply + 'a>;

    /// The format it is held in.
    fn dtype(&self) -> Dtype;
}

/// A batch of prompts being answered: [`Session`] in plain data.
pub(crate) trait Reply {
    /// Logits of each row's next token, row by row.
    fn logits(&self) -> Vec<f32>;

    /// Appends one token to every row.
    fn advance(&mut self, tokens: &[u32]);

    /// Goes on with the given rows, each any number of times and in any order.
    fn select(&mut self, rows: &[usize]);

    /// Log-probabilities of continuations of the only row.
    fn score(&self, suffixes: &[Vec<u32>]) -> Vec<Vec<f32>>;

    /// Log-probabilities of a continuation of each row.
    fn score_rows(self: Box<Self>, suffixes: &[Vec<u32>]) -> Vec<Vec<f32>>;
}

/// A [`Model`] and where it is.
pub(crate) struct OnDevice<B: NnBackend> {
    pub(crate) model: Model<B>,
    pub(crate) device: B::Device,
    pub(crate) storage: Storage,
}

impl<B: NnBackend> OnDevice<B> {
    fn tensor<const D: usize>(&self, data: TensorData) -> Tensor<B, D> {
        Tensor::from_data(data, (&self.device, self.storage.activations()))
    }
}

impl<B: NnBackend> Engine for OnDevice<B> {
    fn encode(&self, pixels: Vec<f32>, pictures: usize, size: usize) -> TensorData {
        let pixels = self.tensor(TensorData::new(pixels, [pictures, 3, size, size]));
        let features = self.model.encode(pixels);
        let width = features.dims()[2];
        features.reshape([1, -1, width as i64]).into_data()
    }

    fn encode_pooled(
        &self,
        pixels: Vec<f32>,
        pictures: usize,
        size: usize,
    ) -> (TensorData, Vec<f32>) {
        let pixels = self.tensor(TensorData::new(pixels, [pictures, 3, size, size]));
        let (features, pooled) = self.model.encode_pooled(pixels);
        let width = features.dims()[2];
        let features = features.reshape([1, -1, width as i64]).into_data();
        (features, pooled.into_data().iter::<f32>().collect())
    }

    fn prefill<'a>(&'a self, prompts: &[HostPrompt<'_>], room: usize) -> Box<dyn Reply + 'a> {
        let some = |features: &TensorData| features.num_elements() > 0;
        let prompt = |prompt: &HostPrompt<'_>| Prompt {
            features: some(prompt.features).then(|| self.tensor(prompt.features.clone())),
            text: prompt.text.to_vec(),
        };
        let prompts: Vec<Prompt<B>> = prompts.iter().map(prompt).collect();
        Box::new(Session::prefill(&self.model, &prompts, room))
    }

    fn dtype(&self) -> Dtype {
        self.storage.into()
    }
}

impl<B: NnBackend> Reply for Session<'_, B> {
    fn logits(&self) -> Vec<f32> {
        // They are in f32 whatever the model is held in, and nobody else's: no number is copied.
        Session::logits(self).into_data().into_vec().unwrap_or_default()
    }

    fn advance(&mut self, tokens: &[u32]) {
        Session::advance(self, tokens);
    }

    fn select(&mut self, rows: &[usize]) {
        Session::select(self, rows);
    }

    fn score(&self, suffixes: &[Vec<u32>]) -> Vec<Vec<f32>> {
        Session::score(self, suffixes)
    }

    fn score_rows(self: Box<Self>, suffixes: &[Vec<u32>]) -> Vec<Vec<f32>> {
        self.log_probabilities(suffixes)
    }
}
