//! A run from beginning to end: model and examples in, checkpoints out.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Instant;

use burn::module::AutodiffModule;
use burn::record::RecorderError;
use burn::tensor::FloatDType;
use burn_autodiff::Autodiff;
use paligemma::{Dtype, Model, Place, Storage};
use paligemma_checkpoint::{
    AdapterError, AdapterFile, PaliGemmaConfig, SaveError, SourceError, save_adapter, save_module,
};
use paligemma_data::{DataError, read_jsonl};
use paligemma_nn::NnBackend;
use paligemma_processor::{Tokenizer, TokenizerError};
use thiserror::Error;

use crate::log::{Line, Log};
use crate::run::file;
use crate::{
    Examples, ExamplesError, HostBatch, Parameter, Progress, RunDirectory, RunError, Selection,
    SelectionError, Settings, Stepped, Trainer, select,
};

/// Steps that are prepared while one is computed.
const AHEAD: usize = 2;

/// Why a run ended before its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FinetuneError {
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Examples for this model.
    #[error(transparent)]
    Examples(#[from] ExamplesError),
    /// What is trained.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The run's folder.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The model.
    #[error(transparent)]
    Model(#[from] paligemma::Error),
    /// A checkpoint that could not be written.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// An adapter that could not be used.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// Files beside the weights.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The optimiser's state.
    #[error("the optimiser's state: {0}")]
    Optimizer(#[from] RecorderError),
    /// A number that training cannot go on from.
    #[error(
        "step {step}: the loss is {loss} and the gradients' norm {norm}; the last checkpoint is from \
         before. Lower --lr, or compute in --dtype f32"
    )]
    NotFinite {
        /// Which step, from 1.
        step: usize,
        /// Its loss.
        loss: f64,
        /// Its gradients' norm.
        norm: f64,
    },
    /// Adapters for a model that is one already.
    #[error("{model} is an adapter already: write it out with `export --merge`, and train that")]
    AdapterOfAdapter {
        /// The model.
        model: String,
    },
    /// Packed matrices that are to be trained themselves.
    #[error(
        "{dtype} packs matrices, which cannot be trained: use --dtype f32, or train adapters (--lora)"
    )]
    Packed {
        /// How they are packed.
        dtype: Dtype,
    },
    /// Numbers of a run that none can have.
    #[error("the {what} is {value}, but must be {expected}")]
    Setting {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: f64,
        /// What it has to be.
        expected: &'static str,
    },
}

/// What happens in a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// The model is there; `steps` of `total` were done before.
    Begun {
        /// All parameters.
        parameters: &'a [Parameter],
        /// Examples to train on.
        examples: usize,
        /// Steps done before.
        steps: usize,
        /// Steps of the whole run.
        total: usize,
    },
    /// A step was done.
    Step {
        /// Steps done.
        steps: usize,
        /// Steps of the whole run.
        total: usize,
        /// Passes over the data that these are.
        epoch: f64,
        /// What it came to.
        stepped: Stepped,
        /// Examples a second, since the run began or was taken up.
        pace: f64,
        /// Seconds until the end at that pace.
        left: f64,
    },
    /// The held-out loss was measured.
    Measured {
        /// Steps done.
        steps: usize,
        /// The loss.
        loss: f64,
    },
    /// A checkpoint was written.
    Saved {
        /// Steps done.
        steps: usize,
    },
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps were done.
    Done,
    /// It was stopped after a step, and a checkpoint written: it can be taken up.
    Stopped {
        /// Steps done.
        steps: usize,
        /// Steps of the whole run.
        total: usize,
    },
}

/// A run over a model that was found.
#[derive(Debug)]
pub struct Finetune<'a> {
    /// What is asked.
    pub settings: &'a Settings,
    /// The model that the settings name.
    pub place: &'a Place,
    /// The run's folder.
    pub run: &'a RunDirectory,
    /// How the model is held where it is not trained, and what activations are computed in.
    pub storage: Storage,
}

impl Settings {
    /// Refuses numbers that no run can have.
    ///
    /// # Errors
    /// The first such number.
    pub fn check(&self) -> Result<(), FinetuneError> {
        let refused = |what, value, expected| Err(FinetuneError::Setting { what, value, expected });
        for (what, value) in [
            ("number of epochs", self.epochs),
            ("batch size", self.batch_size),
            ("number of parts of a batch", self.accumulate),
            ("number of steps between checkpoints", self.save_every),
        ] {
            if value == 0 {
                return refused(what, 0.0, "at least 1");
            }
        }
        for (what, value) in [("rate", self.learning_rate), ("norm to clip at", self.clip)] {
            if !(value.is_finite() && value > 0.0) {
                return refused(what, value, "above 0");
            }
        }
        for (what, value) in [
            ("dropout", self.dropout),
            ("label smoothing", self.loss.label_smoothing),
            ("weight decay", self.weight_decay),
        ] {
            if !(0.0..1.0).contains(&value) {
                return refused(what, value, "at least 0 and below 1");
            }
        }
        Ok(())
    }

    /// How the model is held: a model whose own parameters are trained is there in f32, whatever
    /// activations are computed in; under adapters it stays as `dtype` says.
    pub fn held(&self, storage: Storage) -> Storage {
        if self.lora.is_some() { storage } else { Storage::Dense(FloatDType::F32) }
    }
}

/// What activations are computed in for a storage.
fn activations(storage: Storage) -> FloatDType {
    match storage {
        Storage::Dense(dtype) => dtype,
        Storage::Packed(_) => FloatDType::F32,
    }
}

impl Finetune<'_> {
    /// Runs on a backend; `observe` is told of everything and may stop the run after a step.
    ///
    /// A run whose folder holds a checkpoint goes on from it, to the same bits that it would have
    /// come to without the interruption.
    ///
    /// # Errors
    /// If data, model or folder cannot be used, or the loss is not finite.
    pub fn run<B: NnBackend>(
        &self,
        device: &B::Device,
        mut observe: impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Outcome, FinetuneError> {
        self.check()?;
        let config = self.place.config().map_err(paligemma::Error::from)?;
        let examples = Arc::new(self.examples(&self.settings.data, &config)?);
        let held_out = self.settings.eval.as_deref();
        let held_out = held_out.map(|path| self.examples(path, &config)).transpose()?;
        let (mut trainer, parameters) =
            self.trainer::<Autodiff<B>>(&config, examples.len(), device)?;
        let (first, total) = (trainer.steps, trainer.schedule.steps);
        let mut log = Log::open(self.run.root(), first)?;
        let count = examples.len();
        let begun = Event::Begun { parameters: &parameters, examples: count, steps: first, total };
        let mut goes_on = observe(begun).is_continue();

        let (started, mut seen) = (Instant::now(), 0);
        let ahead = prepared(Arc::clone(&examples), first..total);
        while goes_on && trainer.steps < total {
            // The thread that prepares ends only after the last step or with an error.
            let Ok(parts) = ahead.recv() else { break };
            let parts = parts?;
            seen += parts.iter().map(HostBatch::examples).sum::<usize>();
            let stepped = trainer.step(parts);
            let steps = trainer.steps;
            let Stepped { loss, norm, rate } = stepped;
            if !(loss.is_finite() && norm.is_finite()) {
                return Err(FinetuneError::NotFinite { step: steps, loss, norm });
            }
            let (before, epoch) = (self.epoch(steps - 1, count), self.epoch(steps, count));
            let line = Line {
                step: steps,
                epoch,
                loss: Some(loss),
                norm: Some(norm),
                rate: Some(rate),
                eval_loss: None,
            };
            log.add(line)?;
            let seconds = started.elapsed().as_secs_f64();
            let left = seconds * (total - steps) as f64 / (steps - first) as f64;
            let pace = seen as f64 / seconds;
            let event = Event::Step { steps, total, epoch, stepped, pace, left };
            goes_on = observe(event).is_continue();
            let epoch_ends = epoch.floor() > before.floor() || steps == total;
            if let (true, Some(held_out)) = (epoch_ends, &held_out) {
                let loss = trainer.measure(held_out.in_order(self.settings.batch_size))?;
                let eval_loss = Some(loss);
                let (step, none) = (steps, None);
                log.add(Line { step, epoch, loss: none, norm: none, rate: none, eval_loss })?;
                goes_on &= observe(Event::Measured { steps, loss }).is_continue();
            }
            if epoch_ends || !goes_on || steps.is_multiple_of(self.settings.save_every) {
                self.save(&trainer, &config, started.elapsed().as_secs_f64())?;
                log.plot()?;
                goes_on &= observe(Event::Saved { steps }).is_continue();
            }
        }
        let steps = trainer.steps;
        Ok(if steps == total { Outcome::Done } else { Outcome::Stopped { steps, total } })
    }

    /// Refuses what no run can be.
    fn check(&self) -> Result<(), FinetuneError> {
        self.settings.check()?;
        if self.settings.lora.is_some() && self.place.adapter().is_some() {
            return Err(FinetuneError::AdapterOfAdapter { model: self.settings.model.clone() });
        }
        if let (None, Storage::Packed(_)) = (&self.settings.lora, self.storage) {
            return Err(FinetuneError::Packed { dtype: self.storage.into() });
        }
        Ok(())
    }

    /// Passes over the data that so many steps are.
    fn epoch(&self, steps: usize, examples: usize) -> f64 {
        let seen = (steps * self.settings.batch_size).min(self.settings.epochs * examples);
        seen as f64 / examples as f64
    }

    fn tokenizer(&self, config: &PaliGemmaConfig) -> Result<Tokenizer, FinetuneError> {
        let tokenizer = self.place.tokenizer(config)?;
        paligemma::PaliGemma::check_tokenizer(config, &tokenizer)?;
        Ok(tokenizer)
    }

    fn examples(&self, path: &Path, config: &PaliGemmaConfig) -> Result<Examples, FinetuneError> {
        let settings = Settings { data: path.to_owned(), ..self.settings.clone() };
        let side = config.vision.image_size;
        let (patches, most) = (config.vision.num_patches(), config.text.max_position_embeddings);
        let room = |pictures: usize| most.saturating_sub(pictures * patches);
        let tokenizer = self.tokenizer(config)?;
        Ok(Examples::new(read_jsonl(path)?, tokenizer, side, room, settings)?)
    }

    /// The model of the run's latest checkpoint with its optimiser, or the one that it begins from.
    fn trainer<A>(
        &self,
        config: &PaliGemmaConfig,
        examples: usize,
        device: &A::Device,
    ) -> Result<(Trainer<A>, Vec<Parameter>), FinetuneError>
    where
        A: NnBackend + burn::tensor::backend::AutodiffBackend,
        A::InnerBackend: NnBackend,
    {
        let latest = self.run.latest()?;
        let storage = self.settings.held(self.storage);
        let adapters = self.settings.lora.is_some();
        let model = match &latest {
            Some((folder, _)) if adapters => {
                let model = load::<A>(self.place, config, storage, device)?;
                AdapterFile::open(folder)?.apply(model)?
            }
            Some((folder, _)) => load(&Place::Folder(folder.clone()), config, storage, device)?,
            None => load(self.place, config, storage, device)?,
        };
        // New adapters are drawn by the backend.
        A::seed(device, self.settings.seed);
        let selection = self.settings.selection()?;
        let (model, parameters) = select(model, &selection)?;
        let settings = self.settings.clone();
        let dtype = activations(self.storage);
        let mut trainer = Trainer::new(model, settings, selection, examples, dtype, device.clone());
        if let Some((folder, progress)) = latest {
            trainer.optimizer = trainer.optimizer.load(&folder, device)?;
            trainer.steps = progress.total;
        }
        Ok((trainer, parameters))
    }

    fn save<A>(
        &self,
        trainer: &Trainer<A>,
        config: &PaliGemmaConfig,
        seconds: f64,
    ) -> Result<(), FinetuneError>
    where
        A: NnBackend + burn::tensor::backend::AutodiffBackend,
        A::InnerBackend: NnBackend,
    {
        let (total, stage) = (trainer.steps, 0);
        let progress = Progress { stage, step: total, total, seconds };
        self.run.save(&progress, |folder| {
            let model = trainer.model.valid();
            match self.settings.selection()? {
                Selection::Lora(lora) => {
                    let adapter = lora.config(&self.settings.model);
                    save_adapter(&model, folder, &adapter)?;
                }
                Selection::Parameters(_) => {
                    save_module(&model, folder, config, None)?;
                    for (name, contents) in self.place.other_files()? {
                        if name != "config.json" {
                            let path = folder.join(name);
                            fs::write(&path, contents).map_err(file("write", &path))?;
                        }
                    }
                }
            }
            trainer.optimizer.save(folder)?;
            Ok(())
        })
    }
}

/// A model, with its adapter added to its matrices if it has one.
fn load<A: NnBackend>(
    place: &Place,
    config: &PaliGemmaConfig,
    storage: Storage,
    device: &A::Device,
) -> Result<Model<A>, FinetuneError> {
    let checkpoint = place.checkpoint()?;
    let (model, _) = Model::<A>::load(config, &checkpoint, storage, device, |_| ())
        .map_err(paligemma::Error::from)?;
    Ok(match place.adapter() {
        Some(adapter) => model.adapted(adapter)?,
        None => model,
    })
}

type Prepared = Receiver<Result<Vec<HostBatch>, ExamplesError>>;

/// Batches of the steps as they come, made by a thread of their own.
fn prepared(examples: Arc<Examples>, steps: std::ops::Range<usize>) -> Prepared {
    let (sender, receiver) = sync_channel(AHEAD);
    thread::spawn(move || {
        for step in steps {
            let parts = examples.step(step);
            let failed = parts.is_err();
            if sender.send(parts).is_err() || failed {
                return;
            }
        }
    });
    receiver
}
