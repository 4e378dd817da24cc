//! Gradients of the training loss, for every parameter, against an independent differentiation.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use burn_autodiff::Autodiff;
use paligemma_checkpoint::{LAYOUTS, parameter_shapes};
use paligemma_nn::NnBackend;
use paligemma_train::suffix_loss;

use super::bench::values;
use super::training::batch;
use super::{Bench, Measured, Quantity};
use crate::reference;

/// Gradients below this part of the largest of all are judged as if they reached it: a bias of the
/// keys, for one, changes nothing, and its gradient is rounding alone.
const SMALLEST: f32 = 1e-3;

pub(super) fn measure<B: NnBackend>(bench: &Bench<B>) -> Vec<Measured> {
    let trained = Bench::<Autodiff<B>>::open(bench.device.clone(), bench.storage)
        .unwrap_or_else(|error| panic!("{error}"));
    ["b", "b_batch_right"].iter().flat_map(|case| measure_case(&trained, case)).collect()
}

fn measure_case<B: NnBackend + AutodiffBackend>(bench: &Bench<B>, case: &str) -> Vec<Measured> {
    let features = bench.model.encode(bench.pixels(case));
    let loss = suffix_loss(&bench.model, features, &batch(case), bench.config.pad_token_id);
    let gradients = loss.backward();
    let mut ours = Found::<B> { gradients: &gradients, all: Vec::new() };
    bench.model.visit(&mut ours);

    let names = parameter_shapes::<B, _>(&bench.model);
    let published = names.iter().filter_map(|(path, _)| LAYOUTS[0].file_name(path));
    let theirs: Vec<(String, Vec<f32>)> = published
        .map(|name| format!("{case}.gradient.{name}"))
        .map(|key| (key.clone(), reference::floats(&key)))
        .collect();
    assert_eq!(theirs.len(), ours.all.len(), "every parameter has a published name");
    let smallest = SMALLEST * theirs.iter().map(|(_, values)| largest(values)).fold(0.0, f32::max);

    let tolerance = bench.tolerance_of(Quantity::Gradient);
    let parameter = |((key, theirs), ours): ((String, Vec<f32>), Vec<f32>)| {
        let size = largest(&theirs).max(smallest);
        let [ours, theirs] =
            [ours, theirs].map(|values| values.iter().map(|v| v / size).collect::<Vec<_>>());
        Measured::difference(key, &ours, &theirs, tolerance)
    };
    let mut measured: Vec<Measured> = theirs.into_iter().zip(ours.all).map(parameter).collect();
    let key = format!("{case}.training_loss");
    let theirs = reference::floats(&key);
    measured.push(Measured::difference(key, &values(loss), &theirs, bench.tolerance()));
    measured
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, value| f32::max(largest, value.abs()))
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
