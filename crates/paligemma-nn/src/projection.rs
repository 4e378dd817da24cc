//! The linear layer, its weight in the published layout or packed.

use burn::module::{Module, Param, ParamId};
use burn::tensor::module::embedding;
use burn::tensor::{DType, Int, Shape, Tensor, TensorData};
use paligemma_packed::{Activation, PackedFormat, PackedLayout};

use crate::activation::gelu;
use crate::attention::Precision;
use crate::composed::{cast, primitive, tensor};
use crate::parameter::{constant, normal};
use crate::{Adapter, NnBackend};

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
/// It is also a table of embeddings, whose rows are those of `W` ([`Projection::rows`]). An
/// [`Adapter`] adds to what is projected, and not to embeddings.
#[derive(Module, Debug)]
pub struct Projection<B: NnBackend> {
    weight: Weight<B>,
    bias: Option<Param<Tensor<B, 1>>>,
    adapter: Option<Adapter<B>>,
}

impl<B: NnBackend> Projection<B> {
    /// A projection from `input` to `output` channels without a bias.
    pub fn new(input: usize, output: usize, device: &B::Device) -> Self {
        let deviation = (input as f64).sqrt().recip();
        let weight = Weight::Dense(normal([output, input], deviation, device));
        Self { weight, bias: None, adapter: None }
    }

    /// A projection from `input` to `output` channels with a bias.
    pub fn with_bias(input: usize, output: usize, device: &B::Device) -> Self {
        Self { bias: Some(constant([output], 0.0, device)), ..Self::new(input, output, device) }
    }

    /// The shape of the matrix, `[out, in]`, without allocating it.
    pub fn dims(&self) -> [usize; 2] {
        match &self.weight {
            Weight::Dense(weight) => {
                let shape = weight.lazy_shape();
                [shape[0], shape[1]]
            }
            Weight::Packed(PackedWeight { layout, .. }) => [layout.outputs, layout.inputs],
        }
    }

    /// The device of the matrix, without allocating it.
    pub fn device(&self) -> B::Device {
        match &self.weight {
            Weight::Dense(weight) => weight.lazy_device(),
            Weight::Packed(PackedWeight { bytes, .. }) => bytes.lazy_device(),
        }
    }

    /// What adds to the matrix, if anything does.
    pub fn adapter(&self) -> Option<&Adapter<B>> {
        self.adapter.as_ref()
    }

    /// The same projection with `adapter` in the place of what it had.
    ///
    /// # Panics
    /// If the adapter's factors do not have the shapes of the matrix.
    pub fn with_adapter(self, adapter: Adapter<B>) -> Self {
        let ([a, b], [output, input]) = (adapter.factors(), self.dims());
        let rank = a.dims()[0];
        assert_eq!((a.dims(), b.dims()), ([rank, input], [output, rank]), "another projection's");
        Self { adapter: Some(adapter), ..self }
    }

    /// The same projection with its adapter, if it has one, as `change` makes it.
    pub fn map_adapter(self, change: impl FnOnce(Adapter<B>) -> Adapter<B>) -> Self {
        Self { adapter: self.adapter.map(change), ..self }
    }

    /// The same projection with its adapter added to the matrix, as far as the matrix's type holds
    /// the sum; a packed matrix keeps the adapter beside it.
    pub fn merged(self) -> Self {
        match (self.weight, self.adapter) {
            (Weight::Dense(weight), Some(adapter)) => {
                let add = |weight: Tensor<B, 2>| {
                    let dtype = weight.dtype();
                    cast(cast(weight, DType::F32) + adapter.delta(), dtype)
                };
                Self { weight: Weight::Dense(weight.map(add)), adapter: None, ..self }
            }
            (weight, adapter) => Self { weight, adapter, ..self },
        }
    }

    /// The same projection with a packed matrix, whose bytes are there to be loaded.
    pub(crate) fn with_packed_weight(self, format: PackedFormat) -> Self {
        let [outputs, inputs] = self.dims();
        let layout = PackedLayout { format, outputs, inputs };
        let weight = Weight::Packed(PackedWeight::new(layout, &self.device()));
        Self { weight, ..self }
    }

    /// Output channels: the rows of `W`.
    pub fn outputs(&self) -> usize {
        self.dims()[0]
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
        let output = match &self.adapter {
            None => self.multiply(rows, activation),
            Some(adapter) => {
                let added = adapter.forward(rows.clone());
                let output = self.multiply(rows, Activation::Identity) + added;
                activated(output, activation)
            }
        };
        shape[R - 1] = output.dims()[1];
        output.reshape(shape)
    }

    /// What the matrix itself makes of rows.
    fn multiply(&self, rows: Tensor<B, 2>, activation: Activation) -> Tensor<B, 2> {
        let bias = self.bias.as_ref().map(Param::val);
        match &self.weight {
            Weight::Dense(weight) => activated(linear(rows, weight.val(), bias), activation),
            Weight::Packed(PackedWeight { bytes, layout }) => tensor(B::packed_linear(
                primitive(rows),
                bytes.val().into_primitive(),
                *layout,
                bias.map(primitive),
                activation,
            )),
        }
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

/// `x W^T + bias`.
///
/// # Shapes
/// - `x`: `[N, in]`
/// - `weight`: `[out, in]`
/// - `bias`: `[out]`
/// - output: `[N, out]`
pub fn linear<B: NnBackend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    bias: Option<Tensor<B, 1>>,
) -> Tensor<B, 2> {
    tensor(B::dense_linear(primitive(x), primitive(weight), bias.map(primitive)))
}

fn activated<B: NnBackend>(output: Tensor<B, 2>, activation: Activation) -> Tensor<B, 2> {
    match activation {
        Activation::Identity => output,
        Activation::TanhGelu => gelu(output),
    }
}
