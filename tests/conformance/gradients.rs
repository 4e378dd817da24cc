//! Gradients of the training loss, for every parameter, against an independent differentiation.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use burn_autodiff::Autodiff;
use paligemma_checkpoint::{LAYOUTS, parameter_shapes};
use paligemma_nn::NnBackend;
use paligemma_train::{Backward, Batch, Gradients};

use super::training::batch;
use super::{Bench, Measured, Quantity};

/// Gradients below this part of the largest of all are judged as if they reached it: a bias of the
/// keys, for one, changes nothing, and its gradient is rounding alone.
const SMALLEST: f32 = 1e-3;

pub(super) fn measure<B: NnBackend>(bench: &Bench<B>) -> Vec<Measured> {
    let trained = Bench::<Autodiff<B>>::open(bench.golden, bench.device.clone(), bench.storage)
        .unwrap_or_else(|error| panic!("{error}"));
    let cases = [("b", false), ("b_batch_right", false), ("b_batch_right", true)];
    cases.iter().flat_map(|&(case, recompute)| measure_case(&trained, case, recompute)).collect()
}

fn measure_case<A>(bench: &Bench<A>, case: &str, recompute: bool) -> Vec<Measured>
where
    A: NnBackend + AutodiffBackend,
    A::InnerBackend: NnBackend,
{
    let batch = Batch {
        pixels: bench.pixels(case).inner(),
        rows: batch(bench.golden, case),
        pad: bench.config.pad_token_id,
    };
    let (loss, gradients) = Backward { recompute, ..Backward::default() }.run(&bench.model, &batch);
    let mut ours = Found { gradients: &gradients, all: Vec::new() };
    bench.model.visit(&mut ours);
    let how = if recompute { " recomputed" } else { "" };

    let names = parameter_shapes::<A, _>(&bench.model);
    let published = names.iter().filter_map(|(path, _)| LAYOUTS[0].file_name(path));
    let theirs: Vec<(String, Vec<f32>)> = published
        .map(|name| format!("{case}.gradient.{name}"))
        .map(|key| (key.clone(), bench.golden.floats(&key)))
        .collect();
    assert_eq!(theirs.len(), ours.all.len(), "every parameter has a published name");
    let smallest = SMALLEST * theirs.iter().map(|(_, values)| largest(values)).fold(0.0, f32::max);

    let tolerance = bench.tolerance_of(Quantity::Gradient);
    let parameter = |((key, theirs), ours): ((String, Vec<f32>), Vec<f32>)| {
        let size = largest(&theirs).max(smallest);
        let [ours, theirs] =
            [ours, theirs].map(|values| values.iter().map(|v| v / size).collect::<Vec<_>>());
        Measured::difference(format!("{key}{how}"), &ours, &theirs, tolerance)
    };
    let mut measured: Vec<Measured> = theirs.into_iter().zip(ours.all).map(parameter).collect();
    let key = format!("{case}.training_loss");
    let theirs = bench.golden.floats(&key);
    let name = format!("{key}{how}");
    measured.push(Measured::difference(name, &[loss as f32], &theirs, bench.tolerance()));
    measured
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, value| f32::max(largest, value.abs()))
}

/// Collects the gradient of every parameter, in the order of the module.
struct Found<'a> {
    gradients: &'a Gradients,
    all: Vec<Vec<f32>>,
}

impl<A: AutodiffBackend> ModuleVisitor<A> for Found<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<A, D>>) {
        let gradient = self.gradients.get::<A::InnerBackend, D>(param.id);
        let gradient = gradient.expect("every parameter has a gradient");
        self.all.push(gradient.into_data().iter::<f32>().collect());
    }
}
