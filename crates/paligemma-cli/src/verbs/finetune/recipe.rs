//! What is asked of training: a task's published recipe, and what was typed in its place.

use std::path::PathBuf;

use clap::Args;
use paligemma::{DeviceSpec, Dtype};
use paligemma_data::{Augmentation, Preset};
use paligemma_metrics::Metric;
use paligemma_train::{LoraSettings, Mean, Settings};

use crate::error::Error;

/// How a new run trains; one that is taken up goes on as it began.
#[derive(Args, Debug)]
pub(super) struct Recipe {
    /// Rows that only measure, after every epoch
    #[arg(long, value_name = "FILE.jsonl")]
    eval: Option<PathBuf>,
    /// What the answers to those rows are scored by, see `eval`; the preset's if not given
    #[arg(long, value_name = "NAME", requires = "eval")]
    metric: Option<Metric>,
    /// The published recipe of a task (see `presets`), which other options change
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Train adapters of this rank instead of the model's own parameters
    #[arg(long, value_name = "RANK")]
    lora: Option<usize>,
    /// What an adapter is worth, times its rank; twice the rank if not given
    #[arg(long, value_name = "ALPHA", requires = "lora")]
    lora_alpha: Option<f64>,
    /// The part of its input that an adapter leaves out in training
    #[arg(long, value_name = "SHARE", requires = "lora")]
    lora_dropout: Option<f64>,
    /// What is trained: full, frozen-vision, projector, or patterns of published names with commas
    /// between them; with --lora, the matrices that get adapters
    #[arg(long, value_name = "NAMES")]
    train: Option<String>,
    /// Passes over the data
    #[arg(long)]
    epochs: Option<usize>,
    /// Examples of a step
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Parts that a step's examples pass the model in, one after the other, to need less memory
    #[arg(long, value_name = "PARTS")]
    accumulate: Option<usize>,
    /// The highest rate
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,
    /// What a step at the highest rate takes off the matrices of tower and projector, as a share
    #[arg(long, value_name = "SHARE")]
    weight_decay: Option<f64>,
    /// The share of a target that is spread over all other tokens
    #[arg(long, value_name = "SHARE")]
    label_smoothing: Option<f64>,
    /// The share of what attention and MLP of the decoder add that is dropped
    #[arg(long, value_name = "SHARE")]
    dropout: Option<f64>,
    /// Take the mean over all answer tokens of a batch instead of over each answer first
    #[arg(long)]
    token_mean: bool,
    /// How pictures are varied: none, inception-crop, random-crop or box-crop
    #[arg(long, value_name = "NAME")]
    augment: Option<Augmentation>,
    /// The most text tokens of a row; more are an error
    #[arg(long, value_name = "N")]
    text_length: Option<usize>,
    /// Compute every layer again on the way back instead of keeping it: less memory, more time
    #[arg(long)]
    recompute: bool,
    /// Where chance begins: order, crops and dropout
    #[arg(long)]
    seed: Option<u64>,
    /// Steps between checkpoints; the end of an epoch is one too
    #[arg(long, value_name = "STEPS")]
    save_every: Option<usize>,
    /// auto, flex, ndarray, wgpu, cuda or cuda:N
    #[arg(long)]
    pub(super) device: Option<DeviceSpec>,
    /// What activations are computed in (f32, f16, bf16); under adapters, also how the model is
    /// held: int8 or int4 too
    #[arg(long)]
    pub(super) dtype: Option<Dtype>,
}

impl Recipe {
    /// The settings of a run for pictures of `resolution` pixels.
    pub(super) fn of(&self, settings: Settings, resolution: usize) -> Result<Settings, Error> {
        Ok(match &self.preset {
            Some(name) => self.changed(settings.with_preset(&preset(name, resolution)?)),
            None => self.changed(settings),
        })
    }

    /// Settings with what was typed in their place.
    fn changed(&self, settings: Settings) -> Settings {
        let mut loss = settings.loss;
        loss.label_smoothing = self.label_smoothing.unwrap_or(loss.label_smoothing);
        if self.token_mean {
            loss.mean = Mean::Tokens;
        }
        let lora = self.lora.map(|rank| LoraSettings {
            rank,
            alpha: self.lora_alpha.unwrap_or(2.0 * rank as f64),
            dropout: self.lora_dropout.unwrap_or_default(),
        });
        // A recipe's frozen tower says nothing of where adapters go, which is never the tower.
        let recipe = settings.train.filter(|_| lora.is_none());
        let metric = self.metric.map(|metric| metric.to_string());
        Settings {
            metric: metric.or(settings.metric).filter(|_| self.eval.is_some()),
            eval: self.eval.clone().map(super::full),
            train: self.train.clone().or(recipe),
            lora,
            epochs: self.epochs.unwrap_or(settings.epochs),
            batch_size: self.batch_size.unwrap_or(settings.batch_size),
            accumulate: self.accumulate.unwrap_or(settings.accumulate),
            learning_rate: self.lr.unwrap_or(settings.learning_rate),
            weight_decay: self.weight_decay.unwrap_or(settings.weight_decay),
            loss,
            dropout: self.dropout.unwrap_or(settings.dropout),
            text_length: self.text_length.or(settings.text_length),
            augmentation: self.augment.unwrap_or(settings.augmentation),
            recompute: self.recompute || settings.recompute,
            seed: self.seed.unwrap_or(settings.seed),
            save_every: self.save_every.unwrap_or(settings.save_every),
            ..settings
        }
    }
}

/// The recipe of a task at a model's resolution or, if it has none there, at the nearest.
fn preset(name: &str, resolution: usize) -> Result<Preset, Error> {
    let all = Preset::named(name)?.iter();
    let nearest = all.min_by_key(|preset| preset.resolution.abs_diff(resolution));
    match nearest {
        Some(preset) => Ok(preset.clone()),
        None => Ok(Preset::find(name, resolution)?),
    }
}
