//! A model on some device behind an interface of plain data, so that callers know no backend.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use paligemma_nn::NnBackend;

use crate::{Model, Prompt, Session};

/// The floating-point format that a model computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dtype {
    /// f32 on a CPU; the file's format on a GPU that computes in it, otherwise f32.
    #[default]
    Auto,
    /// 32 bits.
    F32,
    /// 16 bits, 11 of them precision.
    F16,
    /// 16 bits with the range of f32.
    Bf16,
}

impl Dtype {
    pub(crate) fn float(self) -> Option<FloatDType> {
        match self {
            Self::Auto => None,
            Self::F32 => Some(FloatDType::F32),
            Self::F16 => Some(FloatDType::F16),
            Self::Bf16 => Some(FloatDType::BF16),
        }
    }
}

impl From<DType> for Dtype {
    fn from(dtype: DType) -> Self {
        match dtype {
            DType::F16 => Self::F16,
            DType::BF16 => Self::Bf16,
            _ => Self::F32,
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
            _ => Err(format!("unknown dtype `{name}`: use auto, f32, f16 or bf16")),
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

    /// Reads prompts, with room for `room` more tokens each.
    fn prefill<'a>(&'a self, prompts: &[HostPrompt<'_>], room: usize) -> Box<dyn Reply + 'a>;

    /// The format it computes in.
    fn dtype(&self) -> Dtype;
}

/// A batch of prompts being answered: [`Session`] in plain data.
pub(crate) trait Reply {
    /// Logits of each row's next token, row by row.
    fn logits(&self) -> Vec<f32>;

    /// Appends one token to every row.
    fn advance(&mut self, tokens: &[u32]);

    /// Log-probabilities of continuations of the only row.
    fn score(&self, suffixes: &[Vec<u32>]) -> Vec<Vec<f32>>;
}

/// A [`Model`] and where it is.
pub(crate) struct OnDevice<B: NnBackend> {
    pub(crate) model: Model<B>,
    pub(crate) device: B::Device,
    pub(crate) dtype: DType,
}

impl<B: NnBackend> OnDevice<B> {
    fn tensor<const D: usize>(&self, data: TensorData) -> Tensor<B, D> {
        Tensor::from_data(data, (&self.device, self.dtype))
    }
}

impl<B: NnBackend> Engine for OnDevice<B> {
    fn encode(&self, pixels: Vec<f32>, pictures: usize, size: usize) -> TensorData {
        let pixels = self.tensor(TensorData::new(pixels, [pictures, 3, size, size]));
        let features = self.model.encode(pixels);
        let width = features.dims()[2];
        features.reshape([1, -1, width as i64]).into_data()
    }

    fn prefill<'a>(&'a self, prompts: &[HostPrompt<'_>], room: usize) -> Box<dyn Reply + 'a> {
        let prompt = |prompt: &HostPrompt<'_>| Prompt {
            features: self.tensor(prompt.features.clone()),
            text: prompt.text.to_vec(),
        };
        let prompts: Vec<Prompt<B>> = prompts.iter().map(prompt).collect();
        Box::new(Session::prefill(&self.model, &prompts, room))
    }

    fn dtype(&self) -> Dtype {
        self.dtype.into()
    }
}

impl<B: NnBackend> Reply for Session<'_, B> {
    fn logits(&self) -> Vec<f32> {
        Session::logits(self).into_data().iter::<f32>().collect()
    }

    fn advance(&mut self, tokens: &[u32]) {
        Session::advance(self, tokens);
    }

    fn score(&self, suffixes: &[Vec<u32>]) -> Vec<Vec<f32>> {
        self.fork(suffixes.len()).log_probabilities(suffixes)
    }
}
