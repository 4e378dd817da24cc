//! The later stages: the whole model learns to speak, of one thing first, then of more.

use std::ops::RangeInclusive;
use std::time::Instant;

use burn::module::AutodiffModule;
use burn::tensor::Tensor;
use burn_flex::FlexDevice;
use paligemma::Model;
use paligemma_pocket::{Score, Task};
use paligemma_train::{MixedOptimizer, OptimizerConfig, RunDirectory, suffix_loss};

use super::data::{Batch, Recipe, stream};
use super::files::State;
use super::model::config;
use super::{Result, Training, scoring};

const WARMUP: usize = 100;
/// Share of the time, at the end, over which the rate falls to nothing.
const COOLING: f64 = 0.4;
/// Steps between scores, which also end a stage and are when a checkpoint is written.
const STEPS_PER_SCORE: usize = 250;
/// Scenes of an interim score.
const SCENES_PER_SCORE: usize = 48;

/// A stage of the curriculum: what it trains on and when it is solved.
struct Stage {
    name: &'static str,
    recipe: Recipe,
    rates: OptimizerConfig,
    /// Whether the tower learns too, or stays as the first stage left it.
    tower_learns: bool,
    measured: RangeInclusive<usize>,
    solved: fn(&Score) -> bool,
}

fn stages() -> [Stage; 3] {
    [
        Stage {
            name: "one thing",
            recipe: Recipe {
                scenes: 32,
                things: vec![(1..=1, 1.0)],
                tasks: &[Task::Caption, Task::Detect],
            },
            rates: OptimizerConfig { adamw: 2e-3, muon: Some(0.02) },
            tower_learns: false,
            measured: 1..=1,
            solved: |score| score.caption.rate() > 0.7 && score.detection.f1() > 0.5,
        },
        Stage {
            name: "two things",
            recipe: Recipe {
                scenes: 24,
                things: vec![(1..=1, 0.4), (2..=2, 0.6)],
                tasks: &Task::ALL,
            },
            rates: OptimizerConfig { adamw: 1.5e-3, muon: Some(0.01) },
            tower_learns: true,
            measured: 1..=2,
            solved: |score| score.caption.rate() > 0.75 && score.detection.f1() > 0.7,
        },
        Stage {
            name: "all",
            recipe: Recipe {
                scenes: 24,
                things: vec![(1..=1, 0.25), (2..=2, 0.45), (3..=4, 0.3)],
                tasks: &Task::ALL,
            },
            rates: OptimizerConfig { adamw: 1.5e-3, muon: Some(0.01) },
            tower_learns: true,
            measured: 1..=2,
            solved: |_| false,
        },
    ]
}

/// The factor of the rates: a warm-up at the start of a stage, full, then down to nothing.
fn factor(step: usize, seconds: f64, budget: f64) -> f64 {
    let warm = ((step + 1) as f64 / WARMUP as f64).min(1.0);
    let left = (budget - seconds) / (COOLING * budget);
    warm * left.clamp(0.0, 1.0)
}

/// Features of the batch's pictures, through which the tower learns or not.
fn encode(
    model: &Model<Training>,
    batch: &Batch,
    tower_learns: bool,
    device: &FlexDevice,
) -> Tensor<Training, 3> {
    if tower_learns {
        return model.encode(batch.pictures(device));
    }
    let features = model.vision_tower().valid().forward(batch.pictures(device));
    model.projector().forward(Tensor::from_inner(features))
}

/// Trains through the stages that remain until `budget` seconds are spent in all.
pub(crate) fn teach(run: &RunDirectory, mut state: State, budget: f64) -> Result<()> {
    let device = FlexDevice;
    let pad = config().pad_token_id;
    let stages = stages();
    while state.progress.seconds < budget {
        let index = state.progress.stage.min(stages.len()) - 1;
        let Stage { name, recipe, rates, tower_learns, measured, solved } = &stages[index];
        let mut optimizer = MixedOptimizer::new(&state.model, *rates);
        if let (Some((folder, _)), true) = (run.latest()?, state.progress.step > 0) {
            optimizer = optimizer.load(&folder.join("optimizer"), &device)?;
        }
        let batches =
            stream(recipe.clone(), ((index as u64 + 1) << 24) + state.progress.step as u64);
        let (mut resumed, mut rows, mut mean) = (Instant::now(), 0, 0.0_f64);
        loop {
            let batch = batches.recv()??;
            let features = encode(&state.model, &batch, *tower_learns, &device);
            let loss = suffix_loss(&state.model, features, &batch.rows, pad);
            let factor = factor(
                state.progress.step,
                state.progress.seconds + resumed.elapsed().as_secs_f64(),
                budget,
            );
            mean += f64::from(loss.clone().into_scalar());
            rows += batch.rows.rows().len();
            state.model = optimizer.step(state.model, loss.backward(), factor);
            state.progress.step += 1;
            state.progress.total += 1;
            if state.progress.step % 50 == 0 {
                let rate = rows as f64 / resumed.elapsed().as_secs_f64();
                let step = state.progress.step;
                println!(
                    "{name} {step:6}: loss {:.4}, rate x{factor:.3}, {rate:.0} prompts/s",
                    mean / 50.0
                );
                mean = 0.0;
            }
            if state.progress.step % STEPS_PER_SCORE == 0 {
                state.progress.seconds += resumed.elapsed().as_secs_f64();
                let (score, shown) =
                    scoring::score(&state.model.valid(), SCENES_PER_SCORE, measured, recipe.tasks)?;
                println!("{name} after {:.0} s:\n{score}", state.progress.seconds);
                for (example, text) in shown.iter().step_by(shown.len() / 6) {
                    println!("  {} -> {text} ({})", example.prefix, example.suffix);
                }
                let next = solved(&score);
                if next {
                    state.progress.stage += 1;
                    state.progress.step = 0;
                }
                state.save(run, (!next).then_some(&optimizer))?;
                if next || state.progress.seconds >= budget {
                    break;
                }
                (resumed, rows) = (Instant::now(), 0);
            }
        }
    }
    println!("done after {} steps, {:.0} s", state.progress.total, state.progress.seconds);
    Ok(())
}
