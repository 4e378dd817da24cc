//! The low-rank addition to a projection.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, Distribution, Tensor};

use crate::composed::cast;
use crate::{Dropout, NnBackend, linear};

/// `alpha / r B A`, which is added to a projection's matrix `[out, in]` without touching it.
///
/// Source: Hu et al. 2021, "Low-Rank Adaptation of Large Language Models", section 4.1; names,
/// shapes and the first values of A and B are those of PEFT (`peft/tuners/lora/layer.py`).
#[derive(Module, Debug)]
pub struct Adapter<B: NnBackend> {
    /// `[r, in]`.
    lora_a: Param<Tensor<B, 2>>,
    /// `[out, r]`.
    lora_b: Param<Tensor<B, 2>>,
    scale: f64,
    /// What is left out of the input, and where this adapter stands among those of its model.
    #[module(skip)]
    dropout: Option<(Dropout, u64)>,
}

impl<B: NnBackend> Adapter<B> {
    /// An adapter of these factors, worth `scale` times their product.
    ///
    /// # Shapes
    /// - `lora_a`: `[r, in]`
    /// - `lora_b`: `[out, r]`
    pub fn new(lora_a: Tensor<B, 2>, lora_b: Tensor<B, 2>, scale: f64) -> Self {
        let param = |tensor| Param::initialized(ParamId::new(), tensor);
        Self { lora_a: param(lora_a), lora_b: param(lora_b), scale, dropout: None }
    }

    /// A new adapter of rank `rank` for a matrix `[out, in]`, which changes nothing yet: A is
    /// drawn evenly from `-1 / sqrt(in)..1 / sqrt(in)` (of the backend's random generator), B is
    /// zero.
    pub fn fresh([output, input]: [usize; 2], rank: usize, scale: f64, device: &B::Device) -> Self {
        let bound = (input as f64).sqrt().recip();
        let even = Distribution::Uniform(-bound, bound);
        let lora_a = Tensor::random([rank, input], even, (device, DType::F32));
        let lora_b = Tensor::zeros([output, rank], (device, DType::F32));
        Self::new(lora_a, lora_b, scale)
    }

    /// The same adapter, some numbers of whose input are left out for a step of training; each
    /// `place` of one seed has a mask of its own.
    pub fn with_dropout(self, dropout: Dropout, place: u64) -> Self {
        Self { dropout: Some((dropout, place)), ..self }
    }

    /// The factors A, `[r, in]`, and B, `[out, r]`.
    pub fn factors(&self) -> [Tensor<B, 2>; 2] {
        [self.lora_a.val(), self.lora_b.val()]
    }

    /// What is added to the projection's result.
    ///
    /// # Shapes
    /// - `x`: `[N, in]`
    /// - output: `[N, out]`, in the type of `x`
    pub(crate) fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let dtype = x.dtype();
        let [a, b] = self.factors();
        let x = cast(x, a.dtype());
        let x = match self.dropout {
            Some((dropout, place)) => dropout.forward(place, x),
            None => x,
        };
        let output = linear(linear(x, a, None).mul_scalar(self.scale), b, None);
        cast(output, dtype)
    }

    /// `scale B A`: what is added to the matrix.
    ///
    /// # Shapes
    /// - output: `[out, in]`
    pub fn delta(&self) -> Tensor<B, 2> {
        let [a, b] = self.factors();
        linear(b.mul_scalar(self.scale), a.transpose(), None)
    }
}
