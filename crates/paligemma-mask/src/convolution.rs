//! Convolutions of three kinds, and the residual block made of them.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::module::{conv_transpose2d, conv2d};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use paligemma_nn::parameter::{constant, normal};
use paligemma_nn::{NnBackend, exact_product};

/// Kernel and stride of the convolutions that halve or double the height and width.
pub(crate) const SCALING: Shape = Shape { kernel: 4, stride: 2 };
/// A convolution over neighbours.
const NEIGHBOURS: Shape = Shape { kernel: 3, stride: 1 };
/// A projection of every pixel.
pub(crate) const POINTWISE: Shape = Shape { kernel: 1, stride: 1 };

/// Kernel and stride; the padding follows, so that the size changes by the stride alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    kernel: usize,
    stride: usize,
}

impl Shape {
    fn padding(self) -> usize {
        (self.kernel - self.stride) / 2
    }
}

/// A convolution with bias, its weight as published: `[out, in, k, k]`.
#[derive(Module, Debug)]
pub struct Convolution<B: NnBackend> {
    weight: Param<Tensor<B, 4>>,
    bias: Param<Tensor<B, 1>>,
    stride: usize,
    padding: usize,
}

/// A transposed convolution with bias that doubles height and width, its weight as published:
/// `[in, out, k, k]`.
#[derive(Module, Debug)]
pub struct Transposed<B: NnBackend> {
    weight: Param<Tensor<B, 4>>,
    bias: Param<Tensor<B, 1>>,
}

/// `x + third(relu(second(relu(first(x)))))`.
#[derive(Module, Debug)]
pub struct Residual<B: NnBackend> {
    first: Convolution<B>,
    second: Convolution<B>,
    third: Convolution<B>,
}

impl<B: NnBackend> Convolution<B> {
    pub(crate) fn new(input: usize, output: usize, shape: Shape, device: &B::Device) -> Self {
        let Shape { kernel, stride } = shape;
        let inputs = input * kernel * kernel;
        Self {
            weight: normal([output, input, kernel, kernel], deviation(inputs), device),
            bias: constant([output], 0.0, device),
            stride,
            padding: shape.padding(),
        }
    }

    /// Convolves.
    ///
    /// # Shapes
    /// - `x`: `[B, in, H, W]`
    /// - output: `[B, out, H / stride, W / stride]`
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let options = ConvOptions::new([self.stride; 2], [self.padding; 2], [1; 2], 1);
        let convolve = |x, weight| conv2d(x, weight, None, options.clone());
        exact_product(x, self.weight.val(), convolve) + per_channel(&self.bias)
    }
}

impl<B: NnBackend> Transposed<B> {
    pub(crate) fn new(input: usize, output: usize, device: &B::Device) -> Self {
        let Shape { kernel, stride } = SCALING;
        // A pixel of the output sees one tap in `stride` along each axis.
        let inputs = input * (kernel / stride).pow(2);
        Self {
            weight: normal([input, output, kernel, kernel], deviation(inputs), device),
            bias: constant([output], 0.0, device),
        }
    }

    /// Doubles height and width.
    ///
    /// # Shapes
    /// - `x`: `[B, in, H, W]`
    /// - output: `[B, out, 2 H, 2 W]`
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let Shape { stride, .. } = SCALING;
        let padding = [SCALING.padding(); 2];
        let options = ConvTransposeOptions::new([stride; 2], padding, [0; 2], [1; 2], 1);
        let convolve = |x, weight| conv_transpose2d(x, weight, None, options.clone());
        exact_product(x, self.weight.val(), convolve) + per_channel(&self.bias)
    }
}

impl<B: NnBackend> Residual<B> {
    pub(crate) fn new(width: usize, device: &B::Device) -> Self {
        let convolution = |shape| Convolution::new(width, width, shape, device);
        Self {
            first: convolution(NEIGHBOURS),
            second: convolution(NEIGHBOURS),
            third: convolution(POINTWISE),
        }
    }

    /// Adds what three convolutions make of `x`.
    ///
    /// # Shapes
    /// - `x` and output: `[B, D, H, W]`
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let hidden = relu(self.first.forward(x.clone()));
        let hidden = relu(self.second.forward(hidden));
        x + self.third.forward(hidden)
    }
}

/// A bias as what is added to a picture, `[1, out, 1, 1]`.
fn per_channel<B: NnBackend>(bias: &Param<Tensor<B, 1>>) -> Tensor<B, 4> {
    bias.val().reshape([1, -1, 1, 1])
}

/// The spread of new weights at which a rectified layer keeps the size of its inputs
/// (He et al. 2015, arXiv:1502.01852, equation 10).
fn deviation(inputs: usize) -> f64 {
    (2.0 / inputs as f64).sqrt()
}
