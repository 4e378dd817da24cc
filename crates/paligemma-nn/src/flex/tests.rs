//! Every kernel against the composed operations, and every gradient against burn's own.

use std::cell::RefCell;
use std::f64::consts::TAU;

use burn::tensor::{Bool, DType, Int, Tensor, TensorData, Tolerance};
use burn_autodiff::Autodiff;
use burn_flex::{Flex, FlexDevice};
use paligemma_packed::{Activation, PackedFormat, PackedLayout};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::composed::{self, primitive, tensor};
use crate::{NnBackend, Precision, Scoring, gated_gelu, gelu};

type Grad = Autodiff<Flex>;

/// Normal numbers, others at every call of a test and the same in every run of it.
pub(super) fn random<const D: usize>(shape: [usize; D]) -> Tensor<Grad, D> {
    thread_local! {
        static CHANCE: RefCell<ChaCha8Rng> = RefCell::new(ChaCha8Rng::seed_from_u64(0));
    }
    let normal = |chance: &mut ChaCha8Rng| {
        let mut even = || (f64::from(chance.next_u32()) + 0.5) / 2.0_f64.powi(32);
        ((-2.0 * even().ln()).sqrt() * (TAU * even()).cos()) as f32
    };
    let count = shape.iter().product();
    let numbers: Vec<f32> =
        CHANCE.with_borrow_mut(|chance| (0..count).map(|_| normal(chance)).collect());
    Tensor::from_data(TensorData::new(numbers, shape), &FlexDevice).require_grad()
}

/// Asserts that two ways to compute an output agree in value and in the gradients of `inputs`,
/// given a random gradient of the output.
fn same<const D: usize>(
    inputs: &[&Tensor<Grad, D>],
    extra: &[Tensor<Grad, 1>],
    fused: Tensor<Grad, D>,
    composed: Tensor<Grad, D>,
) {
    let tolerance = Tolerance::<f32>::absolute(2e-5).set_relative(2e-5);
    fused.to_data().assert_approx_eq::<f32>(&composed.to_data(), tolerance);
    let weights = random(fused.dims()).detach();
    let of_fused = (fused * weights.clone()).sum().backward();
    let of_composed = (composed * weights).sum().backward();
    for input in inputs {
        let (a, b) = (input.grad(&of_fused).unwrap(), input.grad(&of_composed).unwrap());
        a.to_data().assert_approx_eq::<f32>(&b.to_data(), tolerance);
    }
    for input in extra {
        let (a, b) = (input.grad(&of_fused).unwrap(), input.grad(&of_composed).unwrap());
        a.to_data().assert_approx_eq::<f32>(&b.to_data(), Tolerance::absolute(2e-4));
    }
}

#[test]
fn linear_matches() {
    for (rows, with_bias) in [(70, true), (70, false), (5, true)] {
        let (x, weight, bias) = (random([rows, 150]), random([45, 150]), random([45]));
        let operands = || {
            let offset = with_bias.then(|| primitive(bias.clone()));
            (primitive(x.clone()), primitive(weight.clone()), offset)
        };
        let (a, b, c) = operands();
        let fused = Grad::dense_linear(a, b, c);
        let (a, b, c) = operands();
        let composed = composed::linear::linear::<Grad>(a, b, c);
        let extra = if with_bias { vec![bias.clone()] } else { Vec::new() };
        same(&[&x, &weight], &extra, tensor(fused), tensor(composed));
    }
}

#[test]
fn what_is_frozen_has_no_gradient() {
    let (x, weight) = (random([40, 8]), Tensor::<Grad, 2>::from_inner(random([9, 8]).inner()));
    let output = tensor::<Grad, 2>(Grad::dense_linear(
        primitive(x.clone()),
        primitive(weight.clone()),
        None,
    ));
    let gradients = output.sum().backward();
    assert!(x.grad(&gradients).is_some() && weight.grad(&gradients).is_none());
}

#[test]
fn branches_are_added() {
    let (stream, branch) = (random([300, 70]), random([300, 70]));
    let sum = crate::residual(stream.clone(), branch.clone());
    same(&[&stream, &branch], &[], sum, stream.clone() + branch.clone());
    // A view of a part of something larger.
    let part = branch.clone().slice([10..20, 0..70]);
    let sum = crate::residual(stream.clone().slice([0..10, 0..70]), part.clone());
    assert_eq!(sum.into_data(), (stream.slice([0..10, 0..70]) + part).into_data());
}

#[test]
fn steps_of_adamw_match() {
    let step = |time| crate::AdamWStep {
        rate: 0.1,
        beta_1: 0.9,
        beta_2: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.3,
        time,
    };
    let start = random([130, 150]).detach().inner();
    let (mut fused, mut composed) = ((start.clone(), None), (start, None));
    for time in 1..4 {
        let gradient = random([130, 150]).detach().inner();
        let (parameter, moments) = fused;
        let [parameter, first, second] =
            crate::adamw(parameter, gradient.clone(), moments, step(time));
        fused = (parameter, Some([first, second]));
        let (parameter, moments) = composed;
        let moments = moments.map(|moments: [Tensor<Flex, 2>; 2]| moments.map(primitive));
        let (parameter, gradient) = (primitive(parameter), primitive(gradient));
        let all = composed::adamw::step::<Flex>(parameter, gradient, moments, step(time));
        let [parameter, first, second] = all.map(tensor);
        composed = (parameter, Some([first, second]));
    }
    let tolerance = Tolerance::<f32>::absolute(1e-6).set_relative(1e-5);
    let same = |a: Tensor<Flex, 2>, b: Tensor<Flex, 2>| {
        a.into_data().assert_approx_eq::<f32>(&b.into_data(), tolerance);
    };
    same(fused.0, composed.0);
    for (a, b) in fused.1.unwrap().into_iter().zip(composed.1.unwrap()) {
        same(a, b);
    }
}

#[test]
fn rms_norm_matches() {
    let (x, weight) = (random([37, 48]), random([48]));
    let fused = Grad::rms_norm(primitive(x.clone()), primitive(weight.clone()), 1e-6);
    let composed =
        composed::norm::rms_norm::<Grad>(primitive(x.clone()), primitive(weight.clone()), 1e-6);
    same(&[&x], &[weight], tensor(fused), tensor(composed));
}

#[test]
fn layer_norm_matches() {
    let (x, weight, bias) = (random([37, 48]), random([48]), random([48]));
    let operands = || (primitive(x.clone()), primitive(weight.clone()), primitive(bias.clone()));
    let (a, b, c) = operands();
    let fused = Grad::affine_norm(a, b, c, 1e-6);
    let (a, b, c) = operands();
    let composed = composed::norm::layer_norm::<Grad>(a, b, c, 1e-6);
    same(&[&x], &[weight.clone(), bias.clone()], tensor(fused), tensor(composed));
}

#[test]
fn gelu_matches() {
    let x = random([300, 130]);
    let composed = composed::activation::gelu::<Grad>(primitive(x.clone()));
    same(&[&x], &[], gelu(x.clone()), tensor(composed));
}

#[test]
fn gated_gelu_matches() {
    let (x, up) = (random([300, 130]), random([300, 130]));
    let composed =
        composed::activation::gated_gelu::<Grad>(primitive(x.clone()), primitive(up.clone()));
    same(&[&x, &up], &[], gated_gelu(x.clone(), up.clone()), tensor(composed));
}

#[test]
fn rotation_matches() {
    let x = random([2, 7, 3, 10]);
    let angles = random([2, 7, 5]).detach();
    let operands =
        || (primitive(x.clone()), primitive(angles.clone().cos()), primitive(angles.clone().sin()));
    let (a, b, c) = operands();
    let fused = Grad::rotate(a, b, c);
    let (a, b, c) = operands();
    let composed = composed::rotate::<Grad>(a, b, c);
    same(&[&x], &[], tensor(fused), tensor(composed));
}

#[test]
fn attention_matches() {
    let heads =
        [(4, 1, 6, true), (4, 2, 6, true), (3, 3, 6, false), (1, 1, 6, true), (9, 1, 70, true)];
    let capped = |softcap| Scoring { scale: 0.4, softcap };
    for (length, keys, scoring, (heads, kv_heads, width, with_mask)) in [
        (9, 13, capped(None)),
        (1, 37, capped(None)),
        (9, 37, capped(Some(0.3))),
        (1, 13, capped(Some(0.3))),
        (9, 1, capped(None)),
    ]
    .into_iter()
    .flat_map(|(length, keys, scoring)| heads.map(|heads| (length, keys, scoring, heads)))
    {
        let batch = 2;
        let query = random([batch, length, heads, width]);
        let key = random([batch, keys, kv_heads, width]);
        let value = random([batch, keys, kv_heads, width]);
        let masked = with_mask.then(|| {
            let chances = random([batch, length, keys]).detach().inner();
            // The last of several queries sees nothing.
            let none = Tensor::full([batch, 1, keys], -1.0, &FlexDevice);
            let chances = if length == 1 {
                chances
            } else {
                Tensor::cat(vec![chances.narrow(1, 0, length - 1), none], 1)
            };
            let masked: Tensor<Flex, 3, Bool> = chances.lower_elem(-0.5);
            masked.into_primitive()
        });
        let operands =
            || (primitive(query.clone()), primitive(key.clone()), primitive(value.clone()));
        let (a, b, c) = operands();
        let fused = tensor::<Grad, 4>(Grad::grouped_attention(
            a,
            b,
            c,
            masked.clone(),
            scoring,
            Precision::Full,
        ));
        let (a, b, c) = operands();
        let composed =
            tensor::<Grad, 4>(composed::attention::attention::<Grad>(a, b, c, masked, scoring));
        same(&[&query, &key, &value], &[], fused, composed);
    }
}

#[test]
fn attention_in_bfloat16_is_near() {
    for (heads, kv_heads, softcap) in [(4, 1, None), (3, 3, None), (4, 2, Some(0.5))] {
        let scoring = Scoring { scale: 0.2, softcap };
        let (batch, length, keys, width) = (2, 21, 37, 24);
        let query = random([batch, length, heads, width]).detach();
        let key = random([batch, keys, kv_heads, width]).detach();
        let value = random([batch, keys, kv_heads, width]).detach();
        let masked: Tensor<Grad, 3, Bool> = random([batch, length, keys]).detach().lower_elem(-0.5);
        let attend = |precision| {
            let masked = Some(masked.clone());
            crate::attention(query.clone(), key.clone(), value.clone(), masked, scoring, precision)
        };
        // Eight bits of queries, keys, weights and values that are at most about 4.
        let tolerance = Tolerance::<f32>::absolute(2e-2);
        let (near, exact) = (attend(Precision::Bf16), attend(Precision::Full));
        near.into_data().assert_approx_eq::<f32>(&exact.into_data(), tolerance);
    }
}

#[test]
fn slots_are_written_in_place() {
    let (batch, slots, heads, width) = (3, 7, 2, 5);
    let buffer = random([batch, slots, heads, width]).detach().inner();
    let values = random([batch, heads, 2, width]).detach().inner().swap_dims(1, 2);
    let expected =
        buffer.clone().slice_assign([0..batch, 3..5, 0..heads, 0..width], values.clone());
    // A buffer that others hold too is left as it is.
    let before = buffer.to_data();
    let written = crate::write_slots(buffer.clone(), 3, values.clone());
    assert_eq!((written.into_data(), buffer.to_data()), (expected.to_data(), before));
    let buffer = primitive(buffer);
    let address = buffer.storage::<f32>().as_ptr();
    let written = Flex::write_slots(buffer, 3, primitive(values));
    assert_eq!(written.storage::<f32>().as_ptr(), address);
    assert_eq!(tensor::<Flex, 4>(written).into_data(), expected.into_data());
}

#[test]
fn attention_reads_keys_in_place() {
    let query = random([1, 2, 4, 6]).detach();
    let buffer = random([1, 20, 2, 6]).detach();
    let view = buffer.clone().slice([0..1, 3..9]);
    let copy = Tensor::<Grad, 4>::from_data(view.to_data(), &FlexDevice);
    let attend = |keys: Tensor<Grad, 4>| {
        let scoring = Scoring::scaled(0.4);
        let precision = Precision::Full;
        crate::attention(query.clone(), keys.clone(), keys, None, scoring, precision).into_data()
    };
    assert_eq!(attend(view), attend(copy));
}

/// A matrix in every format: 70 outputs and 90 inputs, neither a multiple of what is packed.
fn packed_matrices() -> Vec<(PackedLayout, Tensor<Flex, 1, Int>)> {
    let (outputs, inputs) = (70, 90);
    let weight = random([outputs, inputs]).into_data().to_vec::<f32>().unwrap();
    let pack = |format| {
        let layout = PackedLayout { format, outputs, inputs };
        let row = |row, out: &mut [f32]| out.copy_from_slice(&weight[row * inputs..][..inputs]);
        let bytes = layout.pack(row).unwrap().as_ref()[..layout.bytes()].to_vec();
        let data = TensorData::new(bytes, [layout.bytes()]);
        (layout, Tensor::from_data(data, (&FlexDevice, DType::U8)))
    };
    [PackedFormat::Bf16, PackedFormat::Int8, PackedFormat::Int4].map(pack).into()
}

/// The error of a product of 90 terms whose activations the kernel rounds to 8 bits, or to
/// bfloat16, relative to the largest output.
const ROUNDED: f32 = 0.02;

#[test]
fn packed_products_match() {
    for (layout, packed) in packed_matrices() {
        for rows in [1, 3, 40] {
            let (x, bias) = (random([rows, layout.inputs]), random([layout.outputs]).detach());
            let packed = || packed.clone().into_primitive();
            let (input, offset) = (x.clone().inner(), bias.clone().inner());
            let fused = Flex::packed_linear(
                primitive(input.clone()),
                packed(),
                layout,
                Some(primitive(offset.clone())),
                Activation::Identity,
            );
            let composed = composed::packed::linear::<Flex>(
                primitive(input),
                packed(),
                layout,
                Some(primitive(offset)),
            );
            let (fused, composed) = (tensor::<Flex, 2>(fused), tensor::<Flex, 2>(composed));
            let most = composed.clone().abs().max().into_scalar();
            let error = (fused.clone() - composed.clone()).abs().max().into_scalar();
            assert!(error <= ROUNDED * most, "{layout:?}, {rows} rows: {error} of {most}");

            let activated = Flex::packed_linear(
                primitive(x.clone().inner()),
                packed(),
                layout,
                Some(primitive(bias.clone().inner())),
                Activation::TanhGelu,
            );
            let expected = Flex::tanh_gelu(primitive(fused.clone()));
            let tolerance = Tolerance::<f32>::absolute(1e-5).set_relative(1e-5);
            let data = |output| tensor::<Flex, 2>(output).into_data();
            data(activated).assert_approx_eq::<f32>(&data(expected), tolerance);

            // Under differentiation the weight is a constant.
            let recorded = Grad::packed_linear(
                primitive(x.clone()),
                packed(),
                layout,
                Some(primitive(bias.clone())),
                Activation::Identity,
            );
            let recorded = tensor::<Grad, 2>(recorded);
            recorded.to_data().assert_approx_eq::<f32>(&data(primitive(fused)), tolerance);
            let unpacked = composed::packed::unpack(
                &Tensor::<Flex, 1, Int>::from_primitive(packed()).into_data().bytes,
                layout,
                0..layout.outputs,
            );
            let weight = Tensor::<Grad, 2>::from_data(unpacked, &FlexDevice);
            let dense = x.clone().matmul(weight.transpose());
            let weights = random([rows, layout.outputs]).detach();
            let gradient = |output: Tensor<Grad, 2>| {
                x.grad(&(output * weights.clone()).sum().backward()).unwrap().into_data()
            };
            let tolerance = Tolerance::<f32>::absolute(1e-5).set_relative(1e-5);
            gradient(recorded).assert_approx_eq::<f32>(&gradient(dense), tolerance);
        }
    }
}

#[test]
fn packed_rows_match() {
    for (layout, packed) in packed_matrices() {
        let ids = || Tensor::<Flex, 1, Int>::from_ints([69, 0, 17, 17], &FlexDevice);
        let packed = || packed.clone().into_primitive();
        let fused = Flex::packed_rows(packed(), layout, ids().into_primitive());
        let composed = composed::packed::rows::<Flex>(packed(), layout, ids().into_primitive());
        assert_eq!(tensor::<Flex, 2>(fused).into_data(), tensor::<Flex, 2>(composed).into_data());
    }
}
