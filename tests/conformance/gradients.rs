//! Gradients of the training loss, for every parameter, against differences of the loss itself.

use burn::module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{DType, Tensor, TensorData};
use burn_autodiff::Autodiff;
use paligemma::Model;
use paligemma_checkpoint::parameter_shapes;
use paligemma_nn::NnBackend;
use paligemma_train::suffix_loss;

use super::bench::values;
use super::training::batch;
use super::{Bench, Measured, Quantity, tolerance};

/// The batch that the loss is taken of.
const CASE: &str = "b_batch_right";
/// How far a parameter is moved along a direction of length 1.
const STEP: f32 = 0.02;
/// Gradients shorter than this part of the longest are judged as if they had this length: a bias
/// of the keys, for one, changes nothing, and its gradient is rounding alone.
const SHORTEST: f64 = 0.02;

/// For each parameter, the slope of the loss along one direction, by its gradient and by a
/// five-point difference. The direction is half the gradient's own, so that a wrong length shows,
/// and half a pseudo-random one, so that a missing part shows. Errors are relative to the
/// gradient's length.
pub(super) fn measure<B: NnBackend>(bench: &Bench<B>) -> Vec<Measured> {
    let trained = Bench::<Autodiff<B>>::open(bench.device.clone(), bench.dtype)
        .unwrap_or_else(|error| panic!("{error}"));
    let gradients = loss(&trained.model, &trained).backward();
    let mut found = Found::<Autodiff<B>> { gradients: &gradients, all: Vec::new() };
    trained.model.visit(&mut found);
    let (all, model) = (found.all, trained.model.valid());
    let longest = all.iter().map(|gradient| length(gradient)).fold(0.0, f64::max);

    let names = parameter_shapes::<B, _>(&model).into_iter().map(|(name, _)| name);
    let measure = |(index, (name, gradient)): (usize, (String, &Vec<f32>))| {
        let direction = direction(gradient, index);
        let at = |steps: f32| {
            let by = direction.iter().map(|value| value * steps * STEP).collect();
            let moved = model.clone().map(&mut Move { by, countdown: index });
            f64::from(values(loss(&moved, bench))[0])
        };
        let near = at(1.0) - at(-1.0);
        let far = at(2.0) - at(-2.0);
        let slope = (8.0 * near - far) / (12.0 * f64::from(STEP));
        let error =
            (slope - dot(gradient, &direction)).abs() / length(gradient).max(SHORTEST * longest);
        Measured {
            what: name,
            error: if error.is_finite() { error as f32 } else { f32::INFINITY },
            tolerance: tolerance(bench.dtype, Quantity::Gradient),
        }
    };
    names.zip(&all).enumerate().map(measure).collect()
}

fn loss<B: NnBackend, C: NnBackend>(model: &Model<B>, bench: &Bench<C>) -> Tensor<B, 1>
where
    C: NnBackend<Device = B::Device>,
{
    let pixels = bench.pixels(CASE).into_data();
    let pixels = Tensor::from_data(pixels, (&bench.device, DType::from(bench.dtype)));
    suffix_loss(model, model.encode(pixels), &batch(CASE), bench.config.pad_token_id)
}

/// A vector of length 1.
fn direction(gradient: &[f32], seed: usize) -> Vec<f32> {
    // Knuth's multiplicative hash of the place: the same direction everywhere.
    let random = |place: usize| {
        let hash = (place as u32 + 1).wrapping_mul(2_654_435_761).wrapping_add(seed as u32 * 97);
        (hash >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let random: Vec<f32> = (0..gradient.len()).map(random).collect();
    let [own, other] = [gradient, &random].map(|vector| length(vector).max(f64::MIN_POSITIVE));
    let both = gradient.iter().zip(&random);
    let sum: Vec<f32> =
        both.map(|(g, r)| (f64::from(*g) / own + f64::from(*r) / other) as f32).collect();
    let total = length(&sum);
    sum.iter().map(|value| (f64::from(*value) / total) as f32).collect()
}

fn dot(one: &[f32], other: &[f32]) -> f64 {
    one.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn length(vector: &[f32]) -> f64 {
    dot(vector, vector).sqrt()
}

/// Collects the gradient of every parameter, in the order of the module.
struct Found<'a, B: AutodiffBackend> {
    gradients: &'a B::Gradients,
    all: Vec<Vec<f32>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Found<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let gradient = param.val().grad(self.gradients).expect("every parameter has a gradient");
        self.all.push(gradient.into_data().iter::<f32>().collect());
    }
}

/// Adds a vector to one parameter, the one that is reached after `countdown` others.
struct Move {
    by: Vec<f32>,
    countdown: usize,
}

impl<B: NnBackend> ModuleMapper<B> for Move {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let reached = self.countdown == 0;
        self.countdown = self.countdown.wrapping_sub(1);
        if !reached {
            return param;
        }
        let by = std::mem::take(&mut self.by);
        param.map(|value| {
            let data = TensorData::new(by, value.shape());
            let by = Tensor::from_data(data, (&value.device(), value.dtype()));
            value + by
        })
    }
}
