//! Rotary positions in the half-split form.

use burn::tensor::{Tensor, TensorData};

use crate::NnBackend;
use crate::composed::{primitive, tensor};

/// Cosines and sines of every position of a batch, made once per pass and shared by all layers.
///
/// Angles are computed in f64 on the host and kept in f32: a table in the dtype of a 16-bit model
/// would give neighbouring positions above 256 the same angle.
#[derive(Clone, Debug)]
pub struct RotaryTable<B: NnBackend> {
    cos: Tensor<B, 3>,
    sin: Tensor<B, 3>,
}

impl<B: NnBackend> RotaryTable<B> {
    /// A table for `positions` (a row per batch row, all of one length), heads of width
    /// `head_dim` (even) and base `theta`: angle `i` is `position * theta^(-2 i / head_dim)`.
    ///
    /// Source: transformers 5.23.0 `modeling_gemma.py`, `GemmaRotaryEmbedding`.
    pub fn new(positions: &[Vec<usize>], head_dim: usize, theta: f64, device: &B::Device) -> Self {
        let half = head_dim / 2;
        let length = positions.first().map_or(0, Vec::len);
        // Rows share most of their positions, and a cosine in f64 costs more than a copy.
        let mut distinct: Vec<usize> = positions.iter().flatten().copied().collect();
        distinct.sort_unstable();
        distinct.dedup();
        let frequencies: Vec<f64> =
            (0..half).map(|i| theta.powf(-2.0 * i as f64 / head_dim as f64)).collect();
        let angles: Vec<f64> = distinct
            .iter()
            .flat_map(|&position| frequencies.iter().map(move |f| position as f64 * f))
            .collect();
        let table = |function: fn(f64) -> f64| {
            let known: Vec<f32> = angles.iter().map(|&angle| function(angle) as f32).collect();
            let mut values = Vec::with_capacity(positions.len() * length * half);
            for position in positions.iter().flatten() {
                let row = distinct.partition_point(|known| known < position);
                values.extend_from_slice(&known[row * half..][..half]);
            }
            let data = TensorData::new(values, [positions.len(), length, half]);
            Tensor::from_data(data, (device, burn::tensor::DType::F32))
        };
        Self { cos: table(f64::cos), sin: table(f64::sin) }
    }

    /// Rotates every head: the first half of its channels against the second.
    ///
    /// # Shapes
    /// - `x`: `[B, L, H, C]`
    /// - output: `[B, L, H, C]`
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let (cos, sin) = (self.cos.clone(), self.sin.clone());
        tensor(B::rotate(primitive(x), primitive(cos), primitive(sin)))
    }
}
