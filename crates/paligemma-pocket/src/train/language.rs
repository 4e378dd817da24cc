//! The later stages: the whole model learns to speak, of one thing first, then of more.

use std::ops::RangeInclusive;
use std::time::Instant;

use burn::module::AutodiffModule;
use burn::tensor::Tensor;
use burn_flex::FlexDevice;
use paligemma::Model;
use paligemma_pocket::{Score, Task, vocabulary};
use paligemma_train::{MixedOptimizer, OptimizerConfig, RunDirectory, suffix_loss};

use super::data::{Batch, Recipe, stream};
use super::files::State;
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
                pages: 0,
                tasks: &[Task::Caption, Task::Detect],
            },
            rates: OptimizerConfig { adamw: 2e-3, muon: Some(0.02) },
            tower_learns: false,
            measured: 1..=1,
            solved: |score| score.caption.rate() > 0.7 && score.detection.f1() > 0.2,
        },
        Stage {
            name: "two things",
            recipe: Recipe {
                scenes: 24,
                things: vec![(1..=1, 0.4), (2..=2, 0.6)],
                pages: 0,
                tasks: &Task::ALL,
            },
            rates: OptimizerConfig { adamw: 1e-3, muon: Some(0.01) },
            tower_learns: false,
            measured: 1..=2,
            solved: |score| score.caption.rate() > 0.75 && score.detection.f1() > 0.6,
        },
        Stage {
            name: "all",
            recipe: Recipe {
                scenes: 24,
                things: vec![(1..=1, 0.25), (2..=2, 0.45), (3..=4, 0.3)],
                pages: 0,
                tasks: &Task::ALL,
            },
            rates: OptimizerConfig { adamw: 1e-3, muon: Some(0.01) },
            tower_learns: false,
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
    let stages = stages();
    while state.progress.seconds < budget {
        let stage = &stages[state.progress.stage.min(stages.len()) - 1];
        state = teach_stage(run, state, stage, budget)?;
    }
    println!("done after {} steps, {:.0} s", state.progress.total, state.progress.seconds);
    Ok(())
}

/// Trains one stage until it is solved or the budget is spent.
fn teach_stage(run: &RunDirectory, mut state: State, stage: &Stage, budget: f64) -> Result<State> {
    let mut optimizer = MixedOptimizer::new(&state.model, stage.rates);
    if let (Some((folder, _)), true) = (run.latest()?, state.progress.step > 0) {
        optimizer = optimizer.load(&folder, &FlexDevice)?;
    }
    // Every stage has scenes of its own; a resumed stage goes on with the next batch.
    let first = ((state.progress.stage as u64) << 24) + state.progress.step as u64;
    let batches = stream(stage.recipe.clone(), first);
    loop {
        let mut meter = Meter::new(stage.name, state.progress.seconds, budget);
        for _ in 0..STEPS_PER_SCORE {
            state = step(state, &mut optimizer, &batches.recv()??, stage, &mut meter);
        }
        state.progress.seconds += meter.started.elapsed().as_secs_f64();
        let solved = score(&state, stage)?;
        if solved {
            state.progress.stage += 1;
            state.progress.step = 0;
        }
        state.save(run, (!solved).then_some(&optimizer))?;
        if solved || state.progress.seconds >= budget {
            return Ok(state);
        }
    }
}

fn step(
    mut state: State,
    optimizer: &mut MixedOptimizer<Training, Model<Training>>,
    batch: &Batch,
    stage: &Stage,
    meter: &mut Meter,
) -> State {
    let features = encode(&state.model, batch, stage.tower_learns, &FlexDevice);
    let loss = suffix_loss(&state.model, features, &batch.rows, vocabulary::PAD);
    let factor = factor(state.progress.step, meter.seconds(), meter.budget);
    let value = f64::from(loss.clone().into_scalar());
    state.model = optimizer.step(state.model, loss.backward(), factor);
    state.progress.step += 1;
    state.progress.total += 1;
    meter.add(state.progress.step, value, batch.rows.rows().len());
    state
}

/// Scores the model as it is, shows some answers, and says whether the stage is solved.
fn score(state: &State, stage: &Stage) -> Result<bool> {
    let model = state.model.valid();
    let (score, shown) =
        scoring::score(&model, SCENES_PER_SCORE, &stage.measured, stage.recipe.tasks)?;
    println!("{} after {:.0} s:\n{score}", stage.name, state.progress.seconds);
    for (example, text) in shown.iter().step_by((shown.len() / 6).max(1)) {
        println!("  {} -> {text} ({})", example.prefix, example.suffix);
    }
    Ok((stage.solved)(&score))
}

/// Shows loss, rate and remaining time while a stage trains.
struct Meter {
    name: &'static str,
    started: Instant,
    before: f64,
    budget: f64,
    rows: usize,
    losses: Vec<f64>,
}

impl Meter {
    /// Steps between two lines.
    const EVERY: usize = 50;

    fn new(name: &'static str, before: f64, budget: f64) -> Self {
        Self { name, started: Instant::now(), before, budget, rows: 0, losses: Vec::new() }
    }

    /// Seconds spent on the run in all.
    fn seconds(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }

    fn add(&mut self, step: usize, loss: f64, rows: usize) {
        self.losses.push(loss);
        self.rows += rows;
        if self.losses.len() == Self::EVERY {
            let mean = self.losses.drain(..).sum::<f64>() / Self::EVERY as f64;
            let rate = self.rows as f64 / self.started.elapsed().as_secs_f64();
            let left = ((self.budget - self.seconds()) / 60.0).max(0.0);
            let name = self.name;
            println!("{name} {step:6}: loss {mean:.4}, {rate:.0} prompts/s, {left:.0} min left");
        }
    }
}
