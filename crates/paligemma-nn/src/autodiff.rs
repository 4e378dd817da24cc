//! The fused operations under automatic differentiation: the forward of the inner backend,
//! recorded with the inner backend's own backward.

use burn::tensor::Shape;
use burn::tensor::ops::{BoolTensor, FloatTensor, IntTensor};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_backend::TensorMetadata;
use paligemma_packed::{Activation, PackedLayout};

use crate::composed::{cast, primitive, tensor};
use crate::{NnBackend, Precision, Scoring};

/// Declares one operation: its state, and how the state and the output's gradient become the
/// gradients of its parents.
macro_rules! operation {
    ($name:ident, $parents:literal, $state:ty, |$pattern:pat_param, $grad:ident| $gradients:expr) => {
        #[derive(Debug)]
        struct $name;

        impl<B: NnBackend> Backward<B, $parents> for $name {
            type State = $state;

            fn backward(
                self,
                ops: Ops<Self::State, $parents>,
                grads: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let $grad = grads.consume::<B>(&ops.node);
                let $pattern = ops.state;
                for (parent, gradient) in ops.parents.into_iter().zip($gradients) {
                    if let Some(node) = parent {
                        grads.register::<B>(node.id, gradient);
                    }
                }
            }
        }
    };
}

/// Records an operation whose output is known.
macro_rules! record {
    ($operation:ident, [$($parent:expr),+], $state:expr, $output:expr) => {
        match $operation.prepare::<C>([$($parent.node.clone()),+]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish($state, $output),
            OpsKind::UnTracked(prep) => prep.finish($output),
        }
    };
}

type Float<B> = FloatTensor<B>;
type AttentionState<B> = (Float<B>, Float<B>, Float<B>, Option<BoolTensor<B>>, Scoring);

operation!(RmsNorm, 2, (Float<B>, Float<B>, f64), |(x, weight, epsilon), grad| {
    B::rms_norm_backward(x, weight, epsilon, grad)
});
operation!(AffineNorm, 3, (Float<B>, Float<B>, f64), |(x, weight, epsilon), grad| {
    B::affine_norm_backward(x, weight, epsilon, grad)
});
operation!(TanhGelu, 1, Float<B>, |x, grad| [B::tanh_gelu_backward(x, grad)]);
operation!(GatedGelu, 2, (Float<B>, Float<B>), |(gate, up), grad| {
    B::gated_gelu_backward(gate, up, grad)
});
// A rotation is orthogonal: its gradient is the rotation back.
operation!(Rotate, 1, (Float<B>, Float<B>), |(cos, sin), grad| {
    [B::rotate(grad, cos, B::float_neg(sin))]
});
operation!(Attention, 3, AttentionState<B>, |(query, key, value, masked, scoring), grad| {
    let gradients = B::grouped_attention_backward(query, key, value, masked, scoring, grad);
    [gradients.query, gradients.key, gradients.value]
});
operation!(Matmul, 2, (Float<B>, Float<B>), |(a, b), grad| {
    let b_grad = B::matmul(B::float_transpose(a), grad.clone());
    [B::matmul(grad, B::float_transpose(b)), b_grad]
});
operation!(PackedLinear, 1, (IntTensor<B>, PackedLayout), |(packed, layout), grad| {
    [B::packed_linear_backward(packed, layout, grad)]
});

/// With two parents, or with a bias as a third. What only the gradient of something frozen would
/// need is not kept.
#[derive(Debug)]
struct DenseLinear;

impl<B: NnBackend, const N: usize> Backward<B, N> for DenseLinear {
    /// The input for the weight's gradient, and the weight for the input's.
    type State = (Option<Float<B>>, Option<Float<B>>);

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<B>(&ops.node);
        let (x, weight) = ops.state;
        let x_grad =
            weight.map(|weight| B::dense_linear(grad.clone(), B::float_transpose(weight), None));
        let weight_grad = x.map(|x| {
            B::dense_linear(B::float_transpose(grad.clone()), B::float_transpose(x), None)
        });
        let bias_grad = ops.parents.get(2).and_then(Option::as_ref).map(|_| {
            let outputs = grad.shape()[1];
            B::float_reshape(B::float_sum_dim(grad, 0), Shape::new([outputs]))
        });
        for (parent, gradient) in ops.parents.iter().zip([x_grad, weight_grad, bias_grad]) {
            if let (Some(node), Some(gradient)) = (parent, gradient) {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

operation!(Residual, 2, (), |(), grad| [grad.clone(), grad]);

impl<B: NnBackend, C: CheckpointStrategy> NnBackend for Autodiff<B, C> {
    fn residual(stream: Float<Self>, branch: Float<Self>) -> Float<Self> {
        let output = B::residual(stream.primitive, branch.primitive);
        record!(Residual, [stream, branch], (), output)
    }

    fn matmul(a: Float<Self>, b: Float<Self>) -> Float<Self> {
        let state = (a.primitive.clone(), b.primitive.clone());
        let output = B::matmul(a.primitive, b.primitive);
        record!(Matmul, [a, b], state, output)
    }

    fn dense_linear(x: Float<Self>, weight: Float<Self>, bias: Option<Float<Self>>) -> Float<Self> {
        let state = (
            weight.is_tracked().then(|| x.primitive.clone()),
            x.is_tracked().then(|| weight.primitive.clone()),
        );
        let offset = bias.as_ref().map(|bias| bias.primitive.clone());
        let output = B::dense_linear(x.primitive, weight.primitive, offset);
        match bias {
            Some(bias) => record!(DenseLinear, [x, weight, bias], state, output),
            None => record!(DenseLinear, [x, weight], state, output),
        }
    }

    fn rms_norm(x: Float<Self>, weight: Float<Self>, epsilon: f64) -> Float<Self> {
        let output = B::rms_norm(x.primitive.clone(), weight.primitive.clone(), epsilon);
        record!(RmsNorm, [x, weight], (x.primitive, weight.primitive, epsilon), output)
    }

    fn affine_norm(
        x: Float<Self>,
        weight: Float<Self>,
        bias: Float<Self>,
        epsilon: f64,
    ) -> Float<Self> {
        let (input, scale) = (x.primitive.clone(), weight.primitive.clone());
        let output = B::affine_norm(input, scale, bias.primitive.clone(), epsilon);
        record!(AffineNorm, [x, weight, bias], (x.primitive, weight.primitive, epsilon), output)
    }

    fn tanh_gelu(x: Float<Self>) -> Float<Self> {
        let output = B::tanh_gelu(x.primitive.clone());
        record!(TanhGelu, [x], x.primitive, output)
    }

    fn gated_gelu(gate: Float<Self>, up: Float<Self>) -> Float<Self> {
        let output = B::gated_gelu(gate.primitive.clone(), up.primitive.clone());
        record!(GatedGelu, [gate, up], (gate.primitive, up.primitive), output)
    }

    fn rotate(x: Float<Self>, cos: Float<Self>, sin: Float<Self>) -> Float<Self> {
        let (cos, sin) = (cos.primitive, sin.primitive);
        let output = B::rotate(x.primitive, cos.clone(), sin.clone());
        record!(Rotate, [x], (cos, sin), output)
    }

    fn grouped_attention(
        query: Float<Self>,
        key: Float<Self>,
        value: Float<Self>,
        masked: Option<BoolTensor<Self>>,
        scoring: Scoring,
        precision: Precision,
    ) -> Float<Self> {
        let (q, k, v) = (query.primitive.clone(), key.primitive.clone(), value.primitive.clone());
        let output = B::grouped_attention(q, k, v, masked.clone(), scoring, precision);
        let state = (query.primitive, key.primitive, value.primitive, masked, scoring);
        record!(Attention, [query, key, value], state, output)
    }

    fn packed_linear(
        x: Float<Self>,
        packed: IntTensor<Self>,
        layout: PackedLayout,
        bias: Option<Float<Self>>,
        activation: Activation,
    ) -> Float<Self> {
        let recorded =
            [Some(&x), bias.as_ref()].into_iter().flatten().any(Float::<Self>::is_tracked);
        if !recorded {
            let bias = bias.map(|bias| bias.primitive);
            let output = B::packed_linear(x.primitive, packed, layout, bias, activation);
            return Float::<Self>::new(output);
        }
        let output = B::packed_linear(
            x.primitive.clone(),
            packed.clone(),
            layout,
            None,
            Activation::Identity,
        );
        let output = record!(PackedLinear, [x], (packed, layout), output);
        let output = match bias {
            Some(bias) => {
                let output = tensor::<Self, 2>(output);
                let bias = cast(tensor::<Self, 1>(bias), output.dtype());
                primitive(output + bias.unsqueeze())
            }
            None => output,
        };
        match activation {
            Activation::Identity => output,
            Activation::TanhGelu => Self::tanh_gelu(output),
        }
    }

    fn packed_rows(
        packed: IntTensor<Self>,
        layout: PackedLayout,
        ids: IntTensor<Self>,
    ) -> Float<Self> {
        Float::<Self>::new(B::packed_rows(packed, layout, ids))
    }
}
