//! The low-rank addition to a projection.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, Distribution, Tensor};

use crate::NnBackend;
use crate::composed::cast;

/// `alpha / r B A`, which is added to a projection's matrix `[out, in]` without touching it.
///
/// Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1; names,
/// shapes and the first values of A and B are those of PEFT (`peft/tuners/lora/layer.py`).
#[derive(Module, Debug)]
pub struct Adapter<B: NnBackend> {
    /// `[r, in]`.
    lora_a: Param<Tensor<B, 2>>,
    /// `[out, r]`.
    lora_b: Param<Tensor<B, 2>>,
    scale: f64,
    dropout: f64,
}

impl<B: NnBackend> Adapter<B> {
    /// An adapter of these factors, worth `scale` times their product. While it is trained, a
    /// part `dropout` of its input's numbers is left out.
    ///
    /// # Shapes
    /// - `lora_a`: `[r, in]`
    /// - `lora_b`: `[out, r]`
    pub fn new(lora_a: Tensor<B, 2>, lora_b: Tensor<B, 2>, scale: f64, dropout: f64) -> Self {
        let param = |tensor| Param::initialized(ParamId::new(), tensor);
        Self { lora_a: param(lora_a), lora_b: param(lora_b), scale, dropout }
    }

    /// A new adapter of rank `rank` for a matrix `[out, in]`, which changes nothing yet: A is
    /// drawn evenly from `-1 / sqrt(in)..1 / sqrt(in)` (of the backend's random generator), B is
    /// zero.
    pub fn fresh(
        [output, input]: [usize; 2],
        rank: usize,
        scale: f64,
        dropout: f64,
        device: &B::Device,
    ) -> Self {
        let bound = (input as f64).sqrt().recip();
        let even = Distribution::Uniform(-bound, bound);
        let lora_a = Tensor::random([rank, input], even, (device, DType::F32));
        let lora_b = Tensor::zeros([output, rank], (device, DType::F32));
        Self::new(lora_a, lora_b, scale, dropout)
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
        let x = self.dropped(cast(x, a.dtype()));
        let output = x.matmul(a.transpose()).mul_scalar(self.scale).matmul(b.transpose());
        cast(output, dtype)
    }

    /// `scale B A`: what is added to the matrix.
    ///
    /// # Shapes
    /// - output: `[out, in]`
    pub fn delta(&self) -> Tensor<B, 2> {
        let [a, b] = self.factors();
        b.mul_scalar(self.scale).matmul(a)
    }

    /// The input with some of its numbers left out, and the others worth as much more.
    fn dropped(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        if self.dropout == 0.0 || !B::ad_enabled(&x.device()) {
            return x;
        }
        let keep = 1.0 - self.dropout;
        let kept = x.random_like(Distribution::Bernoulli(keep));
        (x * kept).mul_scalar(keep.recip())
    }
}
