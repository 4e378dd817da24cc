//! Every fused gradient against differences of what it is the gradient of.

use std::slice::from_ref;

use burn::tensor::{Bool, Tensor};
use burn_autodiff::Autodiff;
use burn_flex::Flex;

use super::tests::random;
use crate::composed::{primitive, tensor};
use crate::{NnBackend, Precision, Scoring, attention, gated_gelu, gelu, residual};

type Grad = Autodiff<Flex>;

/// Half of the distance over which a difference is taken.
const STEP: f64 = 3e-3;
/// Error of a difference relative to the length of the gradient: the third derivative's and that
/// of f32.
const ERROR: f64 = 1e-3;

/// The sum of products, in f64.
fn dot<const D: usize>(a: Tensor<Flex, D>, b: Tensor<Flex, D>) -> f64 {
    let (a, b) = (a.into_data(), b.into_data());
    a.iter::<f64>().zip(b.iter::<f64>()).map(|(a, b)| a * b).sum()
}

/// Asserts that gradients for all `inputs` agree, in a random direction, with differences.
fn agrees<const D: usize, const E: usize>(
    inputs: &[Tensor<Grad, D>],
    function: impl Fn(&[Tensor<Grad, D>]) -> Tensor<Grad, E>,
) {
    let output = function(inputs);
    let weights = random(output.dims()).detach();
    let gradients = (output * weights.clone()).sum().backward();
    for (i, input) in inputs.iter().enumerate() {
        let gradient = input.grad(&gradients).unwrap();
        let direction = random(input.dims()).detach();
        let moved = |step: f64| {
            let mut moved = inputs.to_vec();
            moved[i] = (input.clone() + direction.clone().mul_scalar(step)).detach();
            dot(function(&moved).inner(), weights.clone().inner())
        };
        let difference = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
        let length = dot(gradient.clone(), gradient.clone()).sqrt();
        let along = dot(gradient, direction.inner());
        assert!(
            (along - difference).abs() <= ERROR * length,
            "input {i}: {along} by its gradient, {difference} by differences, length {length}"
        );
    }
}

#[test]
fn of_linear() {
    for rows in [5, 70] {
        let bias = random([19]);
        agrees(&[random([rows, 33]), random([19, 33])], |operands| {
            let [x, weight] = [0, 1].map(|i| primitive(operands[i].clone()));
            tensor::<Grad, 2>(Grad::dense_linear(x, weight, Some(primitive(bias.clone()))))
        });
        let (x, weight) = (random([rows, 33]), random([19, 33]));
        agrees(from_ref(&bias), |operands| {
            let [x, weight] = [&x, &weight].map(|operand| primitive(operand.clone()));
            tensor::<Grad, 2>(Grad::dense_linear(x, weight, Some(primitive(operands[0].clone()))))
        });
    }
}

#[test]
fn of_norms() {
    let (weight, bias) = (random([48]), random([48]));
    agrees(&[random([37, 48])], |x| {
        let (x, weight) = (primitive(x[0].clone()), primitive(weight.clone()));
        tensor::<Grad, 2>(Grad::rms_norm(x, weight, 1e-6))
    });
    agrees(&[random([37, 48])], |x| {
        let (x, weight) = (primitive(x[0].clone()), primitive(weight.clone()));
        tensor::<Grad, 2>(Grad::affine_norm(x, weight, primitive(bias.clone()), 1e-6))
    });
    let x = random([37, 48]);
    agrees(from_ref(&weight), |weights| {
        let (x, weight) = (primitive(x.clone()), primitive(weights[0].clone()));
        tensor::<Grad, 2>(Grad::rms_norm(x, weight, 1e-6))
    });
    agrees(&[weight, bias], |weights| {
        let [weight, bias] = [0, 1].map(|i| primitive(weights[i].clone()));
        tensor::<Grad, 2>(Grad::affine_norm(primitive(x.clone()), weight, bias, 1e-6))
    });
}

#[test]
fn of_activations() {
    agrees(&[random([30, 40])], |x| gelu(x[0].clone()));
    agrees(&[random([30, 40]), random([30, 40])], |x| gated_gelu(x[0].clone(), x[1].clone()));
}

#[test]
fn of_sums_with_a_branch() {
    agrees(&[random([2, 3, 4]), random([2, 3, 4])], |x| residual(x[0].clone(), x[1].clone()));
    // A stream that goes on beside the sum.
    agrees(&[random([2, 3, 4])], |x| {
        residual(x[0].clone(), residual(x[0].clone(), x[0].clone() * x[0].clone()))
    });
}

#[test]
fn of_rotations() {
    let angles = random([2, 7, 5]).detach();
    agrees(&[random([2, 7, 3, 10])], |x| {
        let (cos, sin) = (primitive(angles.clone().cos()), primitive(angles.clone().sin()));
        tensor::<Grad, 4>(Grad::rotate(primitive(x[0].clone()), cos, sin))
    });
}

#[test]
fn of_attention() {
    let cases = [
        (21, 4, 2, None),
        (21, 3, 3, None),
        (1, 4, 1, None),
        (21, 4, 2, Some(0.5)),
        (1, 4, 2, Some(0.5)),
    ];
    for (length, heads, kv_heads, softcap) in cases {
        let scoring = Scoring { scale: 0.4, softcap };
        let masked: Tensor<Grad, 3, Bool> = random([2, length, 35]).detach().lower_elem(-0.5);
        let keys = || random([2, 35, kv_heads, 6]);
        agrees(&[random([2, length, heads, 6]), keys(), keys()], |x| {
            let [query, key, value] = [0, 1, 2].map(|i| x[i].clone());
            attention(query, key, value, Some(masked.clone()), scoring, Precision::Full)
        });
    }
}
