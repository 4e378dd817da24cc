//! The later stages: the whole model learns to speak, of one thing first, then of more.

use std::ops::RangeInclusive;
use std::time::Instant;

use burn::module::{AutodiffModule, Module};
use burn_flex::FlexDevice;
use paligemma::Model;
use paligemma_pocket::{Score, Task};
use paligemma_train::{MixedOptimizer, OptimizerConfig, Progress, RunDirectory, Schedule};

use super::data::{Batch, Batches, Recipe, Tools, stream, tokenizer};
use super::files::{State, Tutor};
use super::masks::Vae;
use super::model::{calm, config};
use super::pupil::{Pointer, Pupil};
use super::{Result, Training, scoring};

const WARMUP: usize = 100;
/// Share of the time, at the end, over which the rate falls to nothing.
const COOLING: f64 = 0.4;
/// How often most stages are scored, and on how many scenes.
const INTERVAL: Interval = Interval { steps: 250, scenes: 48 };

/// What lies between two scores, which may end a stage and are when a checkpoint is written.
#[derive(Clone, Copy)]
struct Interval {
    steps: usize,
    /// Scenes of the score at its end.
    scenes: usize,
}

/// A stage of the curriculum: what it trains on and when it is solved.
struct Stage {
    name: &'static str,
    recipe: Recipe,
    rates: OptimizerConfig,
    measured: RangeInclusive<usize>,
    solved: fn(&Score) -> bool,
    pace: Pace,
    interval: Interval,
    /// Whether the picture's tokens also learn to tell what the prompt speaks of.
    points: bool,
}

/// How long a stage may take at most, and how its rates fall.
enum Pace {
    /// As long as the run's time lasts, over the last share of which the rates fall to nothing.
    Clock,
    /// A number of steps.
    Steps(Schedule),
}

impl Stage {
    /// Whether it has had all of its time or steps.
    fn is_over(&self, progress: &Progress, budget: f64) -> bool {
        match self.pace {
            Pace::Clock => progress.seconds >= budget,
            Pace::Steps(schedule) => progress.step >= schedule.steps,
        }
    }

    /// The factor of the rates at a step, after so many seconds of the run.
    fn factor(&self, step: usize, seconds: f64, budget: f64) -> f64 {
        match self.pace {
            Pace::Clock => factor(step, seconds, budget),
            Pace::Steps(schedule) => schedule.factor(step),
        }
    }
}

fn stages() -> [Stage; 5] {
    [one_thing(), two_things(), all_tasks(), masks(), together()]
}

/// The number of the last stage, counted from the first, which is the eyes.
pub(crate) fn last_stage() -> usize {
    stages().len()
}

/// Where things are, and what they are called.
fn one_thing() -> Stage {
    Stage {
        name: "one thing",
        recipe: Recipe {
            scenes: 32,
            things: vec![(1..=1, 1.0)],
            plated: false,
            pages: 0,
            questions: 2,
            tasks: &[Task::Caption, Task::Detect],
        },
        rates: OptimizerConfig { adamw: 2e-3, decay: 0.0, muon: Some(0.02) },
        measured: 1..=1,
        solved: |score| score.caption.rate() > 0.7 && score.detection.f1() > 0.2,
        pace: Pace::Clock,
        interval: INTERVAL,
        points: false,
    }
}

/// Order, questions and pages.
fn two_things() -> Stage {
    Stage {
        name: "two things",
        recipe: Recipe {
            scenes: 24,
            things: vec![(1..=1, 0.4), (2..=2, 0.6)],
            plated: false,
            pages: 0,
            questions: 2,
            tasks: &Task::PLAIN,
        },
        rates: OptimizerConfig { adamw: 1e-3, decay: 0.0, muon: Some(0.01) },
        measured: 1..=2,
        solved: |score| score.caption.rate() > 0.75 && score.detection.f1() > 0.6,
        pace: Pace::Clock,
        interval: INTERVAL,
        points: false,
    }
}

/// As the model is used.
fn all_tasks() -> Stage {
    Stage {
        name: "all",
        recipe: Recipe {
            scenes: 24,
            things: vec![(1..=1, 0.25), (2..=2, 0.45), (3..=4, 0.3)],
            plated: false,
            pages: 0,
            questions: 2,
            tasks: &Task::PLAIN,
        },
        rates: OptimizerConfig { adamw: 1e-3, decay: 0.0, muon: Some(0.01) },
        measured: 1..=2,
        solved: |_| false,
        pace: Pace::Steps(Schedule { steps: 1750, warmup: WARMUP }),
        interval: INTERVAL,
        points: false,
    }
}

/// The outlines of things beside all else.
fn masks() -> Stage {
    Stage {
        name: "masks",
        recipe: Recipe {
            scenes: 16,
            things: vec![(1..=1, 0.25), (2..=2, 0.45), (3..=4, 0.3)],
            plated: false,
            pages: 0,
            questions: 2,
            tasks: &Task::ALL,
        },
        rates: OptimizerConfig { adamw: 1e-3, decay: 0.0, muon: Some(5e-3) },
        measured: 1..=2,
        solved: |_| false,
        pace: Pace::Steps(Schedule { steps: 450, warmup: 50 }),
        interval: Interval { steps: 150, ..INTERVAL },
        points: false,
    }
}

/// Everything at once, mostly among several things, for as long as there is time.
fn together() -> Stage {
    Stage {
        name: "together",
        recipe: Recipe {
            scenes: 10,
            things: vec![(1..=1, 0.1), (2..=2, 0.2), (3..=3, 0.3), (4..=4, 0.4)],
            plated: true,
            pages: 0,
            questions: 3,
            tasks: &Task::ALL,
        },
        rates: OptimizerConfig { adamw: 1e-3, decay: 0.0, muon: Some(0.01) },
        measured: 1..=4,
        solved: |_| false,
        pace: Pace::Clock,
        interval: INTERVAL,
        points: true,
    }
}

/// The factor of the rates: a warm-up at the start of a stage, full, then down to nothing.
fn factor(step: usize, seconds: f64, budget: f64) -> f64 {
    let warm = ((step + 1) as f64 / WARMUP as f64).min(1.0);
    let left = (budget - seconds) / (COOLING * budget);
    warm * left.clamp(0.0, 1.0)
}

/// The same model with its tower as the first stage left it.
fn with_tower_frozen(model: Model<Training>) -> Model<Training> {
    let (tower, projector, decoder) = model.into_parts();
    Model::from_parts(tower.no_grad(), projector, decoder)
}

/// Trains through the stages that remain; those that go by the clock share `budget` seconds.
pub(crate) fn teach(run: &RunDirectory, mut state: State, budget: f64, vae: &Vae) -> Result<()> {
    for (number, stage) in stages().iter().enumerate().skip(state.progress.stage - 1) {
        if state.progress.stage <= number {
            (state.progress.stage, state.progress.step) = (number + 1, 0);
        }
        state = teach_stage(run, state, stage, budget, vae)?;
    }
    println!("done after {} steps, {:.0} s", state.progress.total, state.progress.seconds);
    Ok(())
}

/// Trains one stage until it is solved or over.
fn teach_stage(
    run: &RunDirectory,
    state: State,
    stage: &Stage,
    budget: f64,
    vae: &Vae,
) -> Result<State> {
    let mut lesson = Lesson::open(run, state, stage, budget, vae)?;
    let number = lesson.state.progress.stage;
    while lesson.state.progress.stage == number && !stage.is_over(&lesson.state.progress, budget) {
        lesson = lesson.go_on(run)?;
    }
    Ok(lesson.state)
}

/// A stage under way.
struct Lesson<'a> {
    stage: &'a Stage,
    /// Seconds that the stages by the clock share.
    budget: f64,
    vae: &'a Vae,
    state: State,
    pointer: Option<Pointer<Training>>,
    optimizer: MixedOptimizer<Training, Pupil<Training>>,
    batches: Batches,
}

impl<'a> Lesson<'a> {
    /// The stage from its beginning, or where the run's latest checkpoint left it.
    fn open(
        run: &RunDirectory,
        state: State,
        stage: &'a Stage,
        budget: f64,
        vae: &'a Vae,
    ) -> Result<Self> {
        let begins = stage.points && state.progress.step == 0;
        let model = if begins { calm(state.model) } else { state.model };
        let mut pointer =
            stage.points.then(|| Pointer::new(config().text.hidden_size, &FlexDevice));
        let begun = run.latest()?.filter(|_| state.progress.step > 0).map(|(folder, _)| folder);
        if let Some(folder) = &begun {
            pointer = pointer.map(|new| new.load(folder, &FlexDevice)).transpose()?;
        }
        let pupil = Pupil { model: with_tower_frozen(model), pointer };
        let mut optimizer = MixedOptimizer::new(&pupil, stage.rates);
        let Pupil { model, pointer } = pupil;
        let state = State { model, ..state };
        if let Some(folder) = begun {
            optimizer = optimizer.load(&folder, &FlexDevice)?;
        }
        // Every stage has scenes of its own; a resumed stage goes on with the next batch.
        let first = ((state.progress.stage as u64) << 24) + state.progress.step as u64;
        let tools = Tools { tokenizer: tokenizer()?, vae: vae.clone() };
        let batches = stream(stage.recipe.clone(), tools, first);
        Ok(Self { stage, budget, vae, state, pointer, optimizer, batches })
    }

    /// Trains up to the next score, and makes what came of it the run's latest checkpoint.
    fn go_on(mut self, run: &RunDirectory) -> Result<Self> {
        let Self { stage, budget, vae, .. } = self;
        let mut meter = Meter::new(stage.name, self.state.progress.seconds, budget);
        for _ in 0..stage.interval.steps {
            let batch = self.batches.recv()??;
            self = self.step(&batch, &mut meter);
        }
        self.state.progress.seconds += meter.started.elapsed().as_secs_f64();
        let solved = score(&self.state, stage, vae)?;
        if solved {
            self.state.progress.stage += 1;
            self.state.progress.step = 0;
        }
        let tutor = Tutor { optimizer: &self.optimizer, pointer: self.pointer.as_ref() };
        self.state.save(run, (!solved).then_some(tutor))?;
        Ok(self)
    }

    fn step(mut self, batch: &Batch, meter: &mut Meter) -> Self {
        let State { model, mut progress } = self.state;
        let pupil = Pupil { model, pointer: self.pointer };
        let (losses, gradients) = pupil.learn(batch);
        let factor = self.stage.factor(progress.step, meter.seconds(), meter.budget);
        let Pupil { model, pointer } = self.optimizer.step(pupil, gradients, factor);
        progress.step += 1;
        progress.total += 1;
        meter.add(progress.step, losses, batch.rows.rows().len());
        Self { state: State { model, progress }, pointer, ..self }
    }
}

/// Scores the model as it is, shows some answers, and says whether the stage is solved.
fn score(state: &State, stage: &Stage, vae: &Vae) -> Result<bool> {
    let model = state.model.valid();
    let (score, shown) =
        scoring::score(&model, vae, stage.interval.scenes, &stage.measured, stage.recipe.tasks)?;
    println!("{} after {:.0} s:\n{score}", stage.name, state.progress.seconds);
    println!("\n{}", scoring::by_form(&shown));
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
    losses: Vec<[f64; 3]>,
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

    fn add(&mut self, step: usize, losses: [f64; 3], rows: usize) {
        self.losses.push(losses);
        self.rows += rows;
        if self.losses.len() == Self::EVERY {
            let mean = |part: usize| {
                self.losses.iter().map(|losses| losses[part]).sum::<f64>() / Self::EVERY as f64
            };
            let [answers, words, shows] = [0, 1, 2].map(mean);
            self.losses.clear();
            let rate = self.rows as f64 / self.started.elapsed().as_secs_f64();
            let left = ((self.budget - self.seconds()) / 60.0).max(0.0);
            let name = self.name;
            println!(
                "{name} {step:6}: loss {answers:.4}, words {words:.4}, pointing {shows:.4}, \
                 {rate:.0} prompts/s, {left:.0} min left"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use paligemma_checkpoint::{Checkpoint, load_masks};
    use paligemma_train::RunError;

    use super::*;
    use crate::train::files;

    /// Every parameter, in the order of the file.
    fn weights(run: &RunDirectory) -> Vec<u8> {
        let (folder, _) = run.latest().unwrap().unwrap();
        std::fs::read(folder.join("model.safetensors")).unwrap()
    }

    /// Makes the latest checkpoint of a run that of another.
    fn copy(from: &RunDirectory, to: &RunDirectory) {
        let (folder, progress) = from.latest().unwrap().unwrap();
        let files = |new: &Path| -> std::result::Result<(), RunError> {
            for file in std::fs::read_dir(&folder).unwrap() {
                let file = file.unwrap();
                std::fs::copy(file.path(), new.join(file.file_name())).unwrap();
            }
            Ok(())
        };
        to.save(&progress, files).unwrap();
    }

    /// Goes on with a stage at once and in two parts, from the same checkpoint within it.
    fn goes_on_to_the_same_bits(number: usize) {
        let file = Checkpoint::from_static(paligemma::pocket::MASKS).unwrap();
        let (vae, _) = load_masks(&file, &FlexDevice).unwrap();
        let mut stage = stages().into_iter().nth(number - 1).unwrap();
        stage.recipe.scenes = 2;
        stage.pace = Pace::Steps(Schedule { steps: 6, warmup: 1 });
        stage.interval = Interval { steps: 2, scenes: 1 };
        let folder = tempfile::tempdir().unwrap();
        let run = |name: &str| RunDirectory::create(folder.path().join(name)).unwrap();
        let [unbroken, broken] = ["unbroken", "broken"].map(run);

        let open = |run: &RunDirectory| files::State::open(run, &FlexDevice).unwrap();
        let go_on = |run: &RunDirectory, state| {
            Lesson::open(run, state, &stage, 0.0, &vae).unwrap().go_on(run).unwrap();
        };
        let mut first = open(&broken);
        first.progress.stage = number;
        go_on(&broken, first);
        copy(&broken, &unbroken);

        teach_stage(&unbroken, open(&unbroken), &stage, 0.0, &vae).unwrap();
        for _ in 0..2 {
            go_on(&broken, open(&broken));
        }
        assert_eq!(open(&broken).progress.step, 6);
        assert!(weights(&unbroken) == weights(&broken), "the weights differ");
    }

    #[test]
    fn an_interrupted_masks_stage_goes_on_to_the_same_bits() {
        goes_on_to_the_same_bits(last_stage() - 1);
    }

    #[test]
    fn an_interrupted_last_stage_goes_on_to_the_same_bits_with_its_pointer() {
        goes_on_to_the_same_bits(last_stage());
    }
}
