//! What a run is asked to do, kept beside its checkpoints so that it can go on.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use paligemma_data::{Augmentation, Preset, Target};
use serde::{Deserialize, Serialize};

use crate::groups::PARTS;
use crate::{Lora, Loss, Names, OptimizerConfig, Schedule, Selection, SelectionError};

/// Share of the steps over which the rate rises.
///
/// Source: big_vision `configs/proj/paligemma/transfers`, `warmup_percent=0.05`.
const WARMUP: f64 = 0.05;

/// Adapters, as a run keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoraSettings {
    /// The rank of their factors.
    pub rank: usize,
    /// What the product of the factors is worth, times the rank.
    pub alpha: f64,
    /// The part of their input's numbers that is left out.
    pub dropout: f64,
}

fn one() -> usize {
    1
}

/// Everything that decides what comes of a run, but for the data itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The model that is trained: `embedded`, a folder or a hub id.
    pub model: String,
    /// The version of a hub's model, if not its main one.
    #[serde(default)]
    pub revision: Option<String>,
    /// The examples.
    pub data: PathBuf,
    /// Examples that only measure.
    pub eval: Option<PathBuf>,
    /// The metric of answers to them, by its name.
    #[serde(default)]
    pub metric: Option<String>,
    /// Beams that those answers are searched with.
    #[serde(default = "one")]
    pub beams: usize,
    /// What is trained, as [`Selection`] reads it; which matrices get adapters, if there are any.
    pub train: Option<String>,
    /// Adapters, if they are what is trained.
    pub lora: Option<LoraSettings>,
    /// Passes over the data.
    pub epochs: usize,
    /// Examples of a step.
    pub batch_size: usize,
    /// Parts in which a step's examples pass the model, to need less memory.
    pub accumulate: usize,
    /// AdamW's rate at the top of the schedule.
    pub learning_rate: f64,
    /// Decay of the kernels of tower and projector, not multiplied by the rate.
    pub weight_decay: f64,
    /// The global norm that gradients are clipped at.
    pub clip: f64,
    /// What is minimised.
    pub loss: Loss,
    /// Share of the decoder's residual branches that is dropped.
    pub dropout: f64,
    /// The most text tokens of an example: prompt, answer and `<eos>`.
    pub text_length: Option<usize>,
    /// Which right answer is learnt.
    pub target: Target,
    /// How pictures are varied.
    pub augmentation: Augmentation,
    /// Whether layers are computed again on the way back instead of kept.
    pub recompute: bool,
    /// Where chance begins.
    pub seed: u64,
    /// Steps between checkpoints; each epoch's end is one too.
    pub save_every: usize,
}

impl Settings {
    /// A run over `data` without a recipe: the rate is that of the published template for own data,
    /// the rest is what most published tasks have in common.
    pub fn new(model: String, data: PathBuf) -> Self {
        Self {
            model,
            revision: None,
            data,
            eval: None,
            metric: None,
            beams: 1,
            train: None,
            lora: None,
            epochs: 10,
            batch_size: 8,
            accumulate: 1,
            learning_rate: 1e-5,
            weight_decay: 0.0,
            clip: 1.0,
            loss: Loss::default(),
            dropout: 0.0,
            text_length: None,
            target: Target::Given,
            augmentation: Augmentation::None,
            recompute: false,
            seed: 0,
            save_every: 500,
        }
    }

    /// The same run by the recipe of a task.
    #[must_use]
    pub fn with_preset(self, preset: &Preset) -> Self {
        Self {
            metric: preset.metrics.first().cloned(),
            beams: preset.beams,
            train: preset.freeze_vision.then(|| "frozen-vision".to_owned()),
            epochs: preset.epochs,
            batch_size: preset.batch_size,
            learning_rate: preset.learning_rate,
            weight_decay: preset.weight_decay,
            loss: Loss { label_smoothing: preset.label_smoothing, ..self.loss },
            dropout: preset.dropout,
            text_length: Some(preset.text_length),
            target: preset.target,
            augmentation: preset.augmentation,
            ..self
        }
    }

    /// What is trained.
    ///
    /// # Errors
    /// If the names cannot be read, or adapters are asked for and a part of the model is named.
    pub fn selection(&self) -> Result<Selection, SelectionError> {
        match (&self.lora, &self.train) {
            (Some(lora), targets) => {
                let LoraSettings { rank, alpha, dropout } = *lora;
                let plain = Lora::new(rank);
                let targets = match targets {
                    Some(part) if PARTS.contains(&part.as_str()) => {
                        return Err(SelectionError::NoMatrix { part: part.clone() });
                    }
                    Some(targets) => Names::new(targets.split(',').map(str::trim)),
                    None => plain.targets,
                };
                Ok(Selection::Lora(Lora { rank, alpha, dropout, targets }))
            }
            (None, Some(train)) => train.parse(),
            (None, None) => "full".parse(),
        }
    }

    /// The rates.
    pub fn optimizer(&self) -> OptimizerConfig {
        OptimizerConfig { adamw: self.learning_rate, decay: self.weight_decay, muon: None }
    }

    /// Steps of the whole run over so many examples; the last may be a smaller one.
    pub fn steps(&self, examples: usize) -> usize {
        (self.epochs * examples).div_ceil(self.batch_size.max(1))
    }

    /// A number that another run with these settings has too, wherever its files are.
    pub(crate) fn fingerprint(&self) -> u64 {
        let settings =
            Self { model: String::new(), data: PathBuf::new(), eval: None, ..self.clone() };
        let mut hasher = DefaultHasher::new();
        format!("{settings:?}").hash(&mut hasher);
        hasher.finish()
    }

    /// Examples that pass the model together.
    pub fn at_once(&self) -> usize {
        self.batch_size.div_ceil(self.accumulate.max(1)).max(1)
    }

    /// How the rates go over the run.
    pub fn schedule(&self, examples: usize) -> Schedule {
        Schedule::with_share(self.steps(examples), WARMUP)
    }
}
