//! The first stage: the tower learns to see before it meets any text.
//!
//! It stands in for the unimodal pre-training that the paper's tower has had: every patch tells
//! what it shows and the box of the thing it belongs to.

use std::time::Instant;

use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};
use burn_flex::FlexDevice;
use paligemma::Model;
use paligemma_nn::{NnBackend, Projection};
use paligemma_pocket::{patches, scene::SIDE};
use paligemma_siglip::Siglip;
use paligemma_train::{MixedOptimizer, OptimizerConfig, RunDirectory, Schedule};

use super::data::{Batch, Recipe, stream};
use super::files::State;
use super::model::config;
use super::{Result, Training};

const SCHEDULE: Schedule = Schedule { steps: 1600, warmup: 50 };
const RATES: OptimizerConfig = OptimizerConfig { adamw: 3e-3, muon: Some(0.02) };
/// Weight of the boxes' error against the classes'.
const BOX_WEIGHT: f32 = 10.0;

/// The tower with two heads that are thrown away afterwards.
#[derive(Module, Debug)]
struct Eyes<B: NnBackend> {
    tower: Siglip<B>,
    class: Projection<B>,
    place: Projection<B>,
}

impl<B: NnBackend> Eyes<B> {
    /// Cross-entropy of the classes, and the mean error of the boxes in pictures' sides.
    fn losses(&self, batch: &Batch, patch: usize, device: &B::Device) -> [Tensor<B, 1>; 2] {
        let features = self.tower.forward(batch.pictures::<B>(device));
        let (classes, boxes) = batch.patches(patch);
        let count = classes.len();
        let shown: Vec<f32> = classes.iter().map(|&class| f32::from(class > 0)).collect();
        let things = shown.iter().sum::<f32>().max(1.0);
        let classes: Vec<i64> = classes.into_iter().map(i64::from).collect();
        let classes = Tensor::<B, 1, Int>::from_data(TensorData::new(classes, [count]), device);
        let boxes = TensorData::new(boxes.into_flattened(), [count, 4]);
        let shown = Tensor::<B, 2>::from_data(TensorData::new(shown, [count, 1]), device);

        let logits = self.class.forward(features.clone()).reshape([count, patches::CLASSES]);
        let class = log_softmax(logits, 1).gather(1, classes.reshape([count, 1])).mean().neg();
        let places = self.place.forward(features).reshape([count, 4]);
        let error = (places - Tensor::from_data(boxes, device)).abs() * shown;
        [class, error.sum() / (4.0 * things)]
    }
}

/// Trains the tower for the whole first stage.
pub(crate) fn teach(run: &RunDirectory, state: State) -> Result<State> {
    let device = FlexDevice;
    let config = config();
    let width = config.vision.hidden_size;
    let (tower, projector, decoder) = state.model.into_parts();
    let mut eyes = Eyes::<Training> {
        tower,
        class: Projection::with_bias(width, patches::CLASSES, &device),
        place: Projection::with_bias(width, 4, &device),
    };
    let mut optimizer = MixedOptimizer::new(&eyes, RATES);
    let recipe = Recipe { scenes: 48, things: vec![(1..=4, 1.0)], tasks: &[] };
    let batches = stream(recipe, 0);
    let started = Instant::now();
    for step in 0..SCHEDULE.steps {
        let batch = batches.recv()??;
        let [class, place] = eyes.losses(&batch, config.vision.patch_size, &device);
        let loss = class.clone() + place.clone() * BOX_WEIGHT;
        eyes = optimizer.step(eyes, loss.backward(), SCHEDULE.factor(step));
        if (step + 1) % 50 == 0 {
            let pixels = place.into_scalar() * SIDE as f32;
            let rate = (step + 1) as f64 * 48.0 / started.elapsed().as_secs_f64();
            println!(
                "eyes {:5}/{}: class {:.4}, box {pixels:5.2} px, {rate:.0} scenes/s",
                step + 1,
                SCHEDULE.steps,
                class.into_scalar()
            );
        }
    }
    let mut progress = state.progress;
    progress.stage = 1;
    progress.total += SCHEDULE.steps;
    progress.seconds += started.elapsed().as_secs_f64();
    let model = Model::from_parts(eyes.tower, projector, decoder);
    let state = State { model, progress };
    state.save(run, None)?;
    Ok(state)
}
