//! The first stage: the tower learns to see before it meets any text.
//!
//! It stands in for the unimodal pre-training that the paper's tower has had: every patch tells
//! what it shows, the box of the thing it belongs to, as numbers and as `<loc>` tokens, and the
//! letters it shows part of.

use std::time::Instant;

use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};
use burn_flex::FlexDevice;
use paligemma::Model;
use paligemma_nn::{NnBackend, Projection};
use paligemma_pocket::patches::{self, Letter};
use paligemma_pocket::scene::{GLYPHS, LONGEST_PLATE, SIDE};
use paligemma_siglip::Siglip;
use paligemma_train::{Gradients, MixedOptimizer, OptimizerConfig, RunDirectory, Schedule};

use super::data::{Batch, Recipe, Tools, stream};
use super::files::State;
use super::model::{LOCATIONS, config, location_table};
use super::{Result, Training};

const SCHEDULE: Schedule = Schedule { steps: 2400, warmup: 50 };
const RATES: OptimizerConfig = OptimizerConfig { adamw: 3e-3, decay: 0.0, muon: Some(0.02) };
/// Weight of the boxes' error against the classes'.
const BOX_WEIGHT: f32 = 10.0;
/// Weight of the letters' cross-entropy, and of their positions' on the plate.
const LETTER_WEIGHT: f32 = 0.5;
/// Weight of the location tokens' cross-entropy.
const LOCATION_WEIGHT: f32 = 0.3;

/// The tower with heads that are thrown away afterwards.
#[derive(Module, Debug)]
struct Eyes<B: NnBackend> {
    tower: Siglip<B>,
    class: Projection<B>,
    place: Projection<B>,
    /// To the embedding of each of a box's four location tokens, as the decoder has to name it.
    location: Projection<B>,
    /// To the character in the left and in the right half of a patch, and to its position.
    glyph: Projection<B>,
    index: Projection<B>,
}

/// What the heads should have said: classes, mean error of boxes, location tokens, letters.
struct Losses<B: NnBackend> {
    class: Tensor<B, 1>,
    place: Tensor<B, 1>,
    location: Tensor<B, 1>,
    letter: Tensor<B, 1>,
}

impl<B: NnBackend> Eyes<B> {
    fn losses(&self, batch: &Batch, patch: usize, device: &B::Device) -> Losses<B> {
        let features = self.tower.forward(batch.pictures::<B>(device));
        let width = features.dims()[2];
        let (classes, boxes) = batch.patches(patch);
        let count = classes.len();
        let features = features.reshape([count, width]);
        let indices = |values: Vec<i64>| {
            let count = values.len();
            Tensor::<B, 1, Int>::from_data(TensorData::new(values, [count]), device)
        };

        let targets = indices(classes.iter().map(|&class| i64::from(class)).collect());
        let class = cross_entropy(self.class.forward(features.clone()), targets);

        let things: Vec<usize> = (0..count).filter(|&i| classes[i] > 0).collect();
        let boxes: Vec<f32> = things.iter().flat_map(|&i| boxes[i]).collect();
        let shown = features.clone().select(0, indices(things.iter().map(|&i| i as i64).collect()));
        let expected = TensorData::new(boxes.clone(), [things.len(), 4]);
        let places = self.place.forward(shown.clone());
        let place = (places - Tensor::from_data(expected, device)).abs().mean();

        let table = TensorData::new(location_table(width), [LOCATIONS, width]);
        let table = Tensor::<B, 2>::from_data(table, device);
        let named = self.location.forward(shown).reshape([4 * things.len(), width]);
        let last = (LOCATIONS - 1) as f32;
        let targets = indices(boxes.iter().map(|place| (place * last).round() as i64).collect());
        let location = cross_entropy(named.matmul(table.transpose()), targets);

        let letters = batch.letters(patch);
        let indexed = |values: fn(&Letter) -> usize| {
            indices(letters.iter().map(|letter| values(letter) as i64).collect())
        };
        let halves = indexed(|letter| 2 * letter.place[0] + letter.place[1]);
        let said = |head: &Projection<B>, classes: usize| {
            head.forward(features.clone()).reshape([2 * count, classes]).select(0, halves.clone())
        };
        let glyph = said(&self.glyph, GLYPHS.len());
        let index = said(&self.index, LONGEST_PLATE);
        let letter = cross_entropy(glyph, indexed(|letter| letter.glyph))
            + cross_entropy(index, indexed(|letter| letter.index));
        Losses { class, place, location, letter }
    }
}

/// Mean over rows of `-log softmax(logits)[target]`.
fn cross_entropy<B: NnBackend>(logits: Tensor<B, 2>, targets: Tensor<B, 1, Int>) -> Tensor<B, 1> {
    let count = targets.dims()[0];
    log_softmax(logits, 1).gather(1, targets.reshape([count, 1])).mean().neg()
}

/// Trains the tower for the whole first stage.
pub(crate) fn teach(run: &RunDirectory, state: State, tools: Tools) -> Result<State> {
    let device = FlexDevice;
    let config = config();
    let width = config.vision.hidden_size;
    let (tower, projector, decoder) = state.model.into_parts();
    let mut eyes = Eyes::<Training> {
        tower,
        class: Projection::with_bias(width, patches::CLASSES, &device),
        place: Projection::with_bias(width, 4, &device),
        location: Projection::with_bias(width, 4 * width, &device),
        glyph: Projection::with_bias(width, 2 * GLYPHS.len(), &device),
        index: Projection::with_bias(width, 2 * LONGEST_PLATE, &device),
    };
    let mut optimizer = MixedOptimizer::new(&eyes, RATES);
    let recipe = Recipe {
        scenes: 32,
        things: vec![(1..=4, 1.0)],
        plated: false,
        pages: 16,
        questions: 0,
        tasks: &[],
    };
    let batches = stream(recipe, tools, 0);
    let started = Instant::now();
    for step in 0..SCHEDULE.steps {
        let batch = batches.recv()??;
        let losses = eyes.losses(&batch, config.vision.patch_size, &device);
        let Losses { class, place, location, letter } = losses;
        let loss = class.clone()
            + place.clone() * BOX_WEIGHT
            + location.clone() * LOCATION_WEIGHT
            + letter.clone() * LETTER_WEIGHT;
        eyes = {
            let gradients = Gradients::of(loss.backward(), &eyes);
            optimizer.step(eyes, gradients, SCHEDULE.factor(step))
        };
        if (step + 1) % 50 == 0 {
            let pixels = place.into_scalar() * SIDE as f32;
            let rate = ((step + 1) * batch.scenes.len()) as f64 / started.elapsed().as_secs_f64();
            println!(
                "eyes {:5}/{}: class {:.4}, box {pixels:5.2} px, location {:.3}, letter {:.3}, {rate:.0} pictures/s",
                step + 1,
                SCHEDULE.steps,
                class.into_scalar(),
                location.into_scalar(),
                letter.into_scalar()
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
