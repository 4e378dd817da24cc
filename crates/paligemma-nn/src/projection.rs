//! The linear layer, its weight in the published layout or packed.

use burn::module::{Module, Param, ParamId};
use burn::tensor::module::embedding;
use burn::tensor::{DType, Int, Shape, Tensor, TensorData};
use paligemma_packed::{Activation, PackedFormat, PackedLayout};

use crate::NnBackend;
use crate::activation::gelu;
use crate::attention::Precision;
use crate::composed::{primitive, tensor};
use crate::parameter::{constant, normal};

/// A module whose matrices can be packed.
pub trait Pack<B: NnBackend>: Module<B> {
    /// The same module with packed matrices instead of its own, whose values are not read: as in
    /// a new module, the parameters are there to be loaded. What is no matrix of a projection
    /// stays as it is.
    #[must_use]
    fn packed(self, format: PackedFormat) -> Self;
}

/// The matrix of a [`Projection`], published as `[out, in]`.
#[derive(Module, Debug)]
pub enum Weight<B: NnBackend> {
    /// A float tensor `[out, in]`.
    Dense(Param<Tensor<B, 2>>),
    /// Packed for products on a CPU; it cannot be trained.
    Packed(PackedWeight<B>),
}

/// A packed matrix.
#[derive(Module, Debug)]
pub struct PackedWeight<B: NnBackend> {
    /// `[bytes]` of u8.
    bytes: Param<Tensor<B, 1, Int>>,
    #[module(skip)]
    layout: PackedLayout,
}

impl<B: NnBackend> PackedWeight<B> {
    /// All bytes zero until it is loaded.
    fn new(layout: PackedLayout, device: &B::Device) -> Self {
        let shape = Shape::from([layout.bytes()]);
        let fill = move |device: &B::Device, _| {
            let zeros = TensorData::new(vec![0_u8; layout.bytes()], [layout.bytes()]);
            Tensor::from_data(zeros, (device, DType::U8))
        };
        let bytes = Param::uninitialized(ParamId::new(), fill, device.clone(), false, shape);
        Self { bytes, layout }
    }
}

/// `x W^T + b`, with `W` as published: `[out, in]`.
///
/// It is also a table of embeddings, whose rows are those of `W` ([`Projection::rows`]).
#[derive(Module, Debug)]
pub struct Projection<B: NnBackend> {
    weight: Weight<B>,
    bias: Option<Param<Tensor<B, 1>>>,
}

impl<B: NnBackend> Projection<B> {
    /// A projection from `input` to `output` channels without a bias.
    pub fn new(input: usize, output: usize, device: &B::Device) -> Self {
        let deviation = (input as f64).sqrt().recip();
        Self { weight: Weight::Dense(normal([output, input], deviation, device)), bias: None }
    }

    /// A projection from `input` to `output` channels with a bias.
    pub fn with_bias(input: usize, output: usize, device: &B::Device) -> Self {
        Self { bias: Some(constant([output], 0.0, device)), ..Self::new(input, output, device) }
    }

    /// Output channels: the rows of `W`.
    pub fn outputs(&self) -> usize {
        match &self.weight {
            Weight::Dense(weight) => weight.lazy_shape()[0],
            Weight::Packed(PackedWeight { layout, .. }) => layout.outputs,
        }
    }

    /// How exactly results of this layer are worth being multiplied with each other.
    pub fn precision(&self) -> Precision {
        match self.weight {
            Weight::Dense(_) => Precision::Full,
            Weight::Packed(_) => Precision::Bf16,
        }
    }

    /// Projects the last axis.
    ///
    /// # Shapes
    /// - `x`: `[.., in]`
    /// - output: `[.., out]`
    pub fn forward<const R: usize>(&self, x: Tensor<B, R>) -> Tensor<B, R> {
        self.project(x, Activation::Identity)
    }

    /// [`crate::gelu`] of what the last axis is projected to.
    ///
    /// # Shapes
    /// - `x`: `[.., in]`
    /// - output: `[.., out]`
    pub fn forward_gelu<const R: usize>(&self, x: Tensor<B, R>) -> Tensor<B, R> {
        self.project(x, Activation::TanhGelu)
    }

    fn project<const R: usize>(&self, x: Tensor<B, R>, activation: Activation) -> Tensor<B, R> {
        let mut shape = x.shape();
        // One flat product: a batched one would repeat the weight's gradient per row of the batch.
        let rows = x.reshape([-1, shape[R - 1] as i64]);
        let bias = self.bias.as_ref().map(Param::val);
        let output: Tensor<B, 2> = match &self.weight {
            Weight::Dense(weight) => {
                let output = rows.matmul(weight.val().transpose());
                let output = match bias {
                    Some(bias) => output + bias.unsqueeze(),
                    None => output,
                };
                match activation {
                    Activation::Identity => output,
                    Activation::TanhGelu => gelu(output),
                }
            }
            Weight::Packed(PackedWeight { bytes, layout }) => tensor(B::packed_linear(
                primitive(rows),
                bytes.val().into_primitive(),
                *layout,
                bias.map(primitive),
                activation,
            )),
        };
        shape[R - 1] = output.dims()[1];
        output.reshape(shape)
    }

    /// Rows of `W`: embeddings of `ids`.
    ///
    /// # Shapes
    /// - `ids`: `[B, L]`, each below `out`
    /// - output: `[B, L, in]`
    pub fn rows(&self, ids: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        match &self.weight {
            Weight::Dense(weight) => embedding(weight.val(), ids),
            Weight::Packed(PackedWeight { bytes, layout }) => {
                let [batch, length] = ids.dims();
                let ids = ids.reshape([batch * length]).into_primitive();
                let rows = B::packed_rows(bytes.val().into_primitive(), *layout, ids);
                tensor::<B, 2>(rows).reshape([batch, length, layout.inputs])
            }
        }
    }
}

impl<B: NnBackend> Pack<B> for Projection<B> {
    fn packed(self, format: PackedFormat) -> Self {
        let (shape, device) = match &self.weight {
            Weight::Dense(weight) => {
                let shape = weight.lazy_shape();
                ([shape[0], shape[1]], weight.lazy_device())
            }
            Weight::Packed(PackedWeight { bytes, layout }) => {
                ([layout.outputs, layout.inputs], bytes.lazy_device())
            }
        };
        let layout = PackedLayout { format, outputs: shape[0], inputs: shape[1] };
        Self { weight: Weight::Packed(PackedWeight::new(layout, &device)), ..self }
    }
}
