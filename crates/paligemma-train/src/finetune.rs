//! A run from beginning to end: model and examples in, checkpoints out.

mod check;
mod error;
mod event;
mod judge;
mod keeper;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use burn::tensor::backend::AutodiffBackend;
use burn_autodiff::Autodiff;
use paligemma::{DeviceSpec, Model, Place, Storage};
use paligemma_checkpoint::{AdapterFile, PaliGemmaConfig};
use paligemma_data::read_jsonl;
use paligemma_nn::NnBackend;
use paligemma_processor::Tokenizer;

pub use error::FinetuneError;
pub use event::{Event, Outcome};
pub use judge::{Judge, JudgeError};

use crate::memory::{Plan, activations};
use crate::{
    Examples, ExamplesError, HostBatch, Parameter, Peers, PeersError, RunDirectory, Settings,
    Stepped, Trainer, TrainingNeeds, select,
};
use keeper::Keeper;

/// Steps that are prepared while one is computed.
const AHEAD: usize = 2;

/// A run over a model that was found.
#[derive(Clone, Copy)]
pub struct Finetune<'a> {
    /// What is asked.
    pub settings: &'a Settings,
    /// The model that the settings name.
    pub place: &'a Place,
    /// The run's folder.
    pub run: &'a RunDirectory,
    /// How the model is held where it is not trained, and what activations are computed in.
    pub storage: Storage,
    /// The device that it runs on, by its name.
    pub device: DeviceSpec,
    /// Who scores answers to the held-out examples, after every epoch.
    pub judge: Option<&'a dyn Judge>,
    /// Who else trains the same model.
    pub peers: &'a Peers,
}

/// Held while a backend draws numbers by a seed.
static DRAWING: Mutex<()> = Mutex::new(());

impl Finetune<'_> {
    /// Runs on a backend; `observe` is told of everything and may stop the run after a step.
    ///
    /// A run whose folder holds a checkpoint goes on from it, to the same bits that it would have
    /// come to without the interruption. Of several workers the first alone measures and writes.
    /// What was trained before examples or measuring fail is kept.
    ///
    /// # Errors
    /// If data, model or folder cannot be used, the loss is not finite, or another worker fails.
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
        let count = examples.len();
        self.goes_on_with(&examples)?;
        let needs = self.needs::<B>(&config, &examples, device)?;
        let (mut trainer, parameters) = self.trainer::<Autodiff<B>>(&config, count, device)?;
        let (first, total) = (trainer.steps, trainer.schedule.steps);
        let data = (&*examples, held_out.as_ref());
        let mut keeper = Keeper::open(self, &config, data, &trainer, device)?;
        self.meet::<B>(&trainer, count, device)?;
        let parameters = &parameters;
        let begun = Event::Begun { parameters, examples: count, steps: first, total, needs };
        let stops = observe(begun).is_break();
        self.train(&examples, &mut trainer, &mut keeper, stops, &mut observe)?;
        self.peers.leave::<B>()?;
        let steps = trainer.steps;
        Ok(if steps == total { Outcome::Done } else { Outcome::Stopped { steps, total } })
    }

    /// Trains from where the trainer is to the end, or until somebody stops the run.
    fn train<B: NnBackend>(
        &self,
        examples: &Arc<Examples>,
        trainer: &mut Trainer<Autodiff<B>>,
        keeper: &mut Keeper<'_, B>,
        mut stops: bool,
        observe: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), FinetuneError> {
        let (device, count) = (keeper.device, examples.len());
        let (first, total) = (trainer.steps, trainer.schedule.steps);
        let mut trouble = None;
        if !stops && self.ends_epoch(first, count) {
            let caught_up = keeper.catch_up(trainer, self.epoch(first, count), observe);
            stops = is_break(caught_up, &mut trouble);
        }
        let mut goes_on = !self.peers.any::<B>(stops, device)?;
        let (started, mut seen) = (Instant::now(), 0);
        let ahead = prepared(Arc::clone(examples), self.peers.clone(), first..total);
        while goes_on && trainer.steps < total {
            let parts = match ahead.recv() {
                Ok(parts) => parts.map_err(FinetuneError::from),
                // The thread that prepares ends after the last step, with an error or by a panic.
                Err(_) => Err(FinetuneError::Unprepared { step: trainer.steps + 1 }),
            };
            let parts = trouble.take().map_or(parts, Err);
            let failed = self.peers.any::<B>(parts.is_err(), device)?;
            let parts = match parts {
                Ok(parts) if !failed => parts,
                ended => return Err(self.given_up(ended.err(), trainer, keeper, observe)),
            };
            let stepped = trainer.step(parts)?;
            let steps = trainer.steps;
            let Stepped { loss, norm, .. } = stepped;
            if !(loss.is_finite() && norm.is_finite()) {
                return Err(FinetuneError::NotFinite { step: steps, loss, norm });
            }
            seen += self.examples_of(steps - 1, count);
            let seconds = started.elapsed().as_secs_f64();
            let left = seconds * (total - steps) as f64 / (steps - first) as f64;
            let (epoch, pace) = (self.epoch(steps, count), seen as f64 / seconds);
            let event = Event::Step { steps, total, epoch, stepped, pace, left };
            stops = observe(event).is_break();
            let epoch_ends = self.ends_epoch(steps, count);
            let noted = keeper.note(trainer, epoch, stepped, epoch_ends, observe);
            stops |= is_break(noted, &mut trouble);
            goes_on = !self.peers.any::<B>(stops, device)?;
            let due = !goes_on || steps.is_multiple_of(self.settings.save_every);
            if due && trouble.is_none() {
                trouble = keeper.save(trainer, observe).err();
            }
        }
        let Some(error) = trouble else { return Ok(()) };
        keeper.save(trainer, observe).ok();
        Err(error)
    }

    /// Why the run ends before its end: for this error or, without one, for that of another worker.
    /// What was trained until then is kept.
    fn given_up<B: NnBackend>(
        &self,
        error: Option<FinetuneError>,
        trainer: &Trainer<Autodiff<B>>,
        keeper: &mut Keeper<'_, B>,
        observe: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> FinetuneError {
        // The first error is told, whether or not another follows.
        keeper.save(trainer, observe).ok();
        // A worker that fails may end the process: none does until the first one has written.
        self.peers.any::<B>(true, keeper.device).ok();
        error.unwrap_or_else(|| PeersError::Another.into())
    }

    /// What the run takes, if there is memory for it.
    fn needs<B: NnBackend>(
        &self,
        config: &PaliGemmaConfig,
        examples: &Examples,
        device: &B::Device,
    ) -> Result<TrainingNeeds, FinetuneError> {
        let (checkpoint, (pictures, text)) = (&self.place.checkpoint()?, examples.largest());
        let Self { settings, storage, device: spec, .. } = *self;
        let plan = Plan { settings, config, checkpoint, storage, device: spec, pictures, text };
        plan.check::<B>(device)
    }

    /// Meets the other workers, who have to be doing the same.
    fn meet<B: NnBackend>(
        &self,
        trainer: &Trainer<Autodiff<B>>,
        examples: usize,
        device: &B::Device,
    ) -> Result<(), FinetuneError> {
        if self.peers.count() == 1 {
            return Ok(());
        }
        self.peers.join::<B>(device)?;
        self.peers.same::<B>("the steps done before", trainer.steps as u64, device)?;
        self.peers.same::<B>("the number of examples", examples as u64, device)?;
        self.peers.same::<B>("what is asked", self.settings.fingerprint(), device)?;
        Ok(self.peers.same::<B>("the model", trainer.fingerprint(), device)?)
    }

    /// Refuses other examples than those that the run began with: its steps would be others.
    fn goes_on_with(&self, examples: &Examples) -> Result<(), FinetuneError> {
        let begun = self.run.latest()?.and_then(|(_, progress)| progress.examples);
        if begun.is_some_and(|begun| begun != examples.fingerprint()) {
            return Err(FinetuneError::OtherExamples { data: self.settings.data.clone() });
        }
        Ok(())
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

    /// Whether an epoch ends with the last of so many steps.
    fn ends_epoch(&self, steps: usize, examples: usize) -> bool {
        let epoch = |steps| self.epoch(steps, examples).floor();
        steps > 0 && epoch(steps) > epoch(steps - 1)
    }

    /// Examples of a step, of all workers.
    fn examples_of(&self, step: usize, examples: usize) -> usize {
        let all = self.settings.epochs * examples;
        all.saturating_sub(step * self.settings.batch_size).min(self.settings.batch_size)
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
        A: NnBackend + AutodiffBackend,
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
        let selection = self.settings.selection()?;
        let (model, parameters) = {
            // New adapters are drawn by the backend, which workers of one process share.
            let _drawing = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
            A::seed(device, self.settings.seed);
            select(model, &selection)?
        };
        let settings = self.settings.clone();
        let dtype = activations(self.storage);
        let mut trainer = Trainer::new(model, settings, selection, examples, dtype, device.clone());
        if let Some((folder, progress)) = latest {
            trainer.optimizer = trainer.optimizer.load(&folder, device)?;
            trainer.steps = progress.total;
        }
        trainer.peers = self.peers.clone();
        Ok((trainer, parameters))
    }
}

/// Whether somebody asks for an end; an error is kept until all workers can be told of it.
fn is_break(
    noted: Result<ControlFlow<()>, FinetuneError>,
    trouble: &mut Option<FinetuneError>,
) -> bool {
    match noted {
        Ok(flow) => flow.is_break(),
        Err(error) => {
            *trouble = Some(error);
            false
        }
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
fn prepared(examples: Arc<Examples>, peers: Peers, steps: std::ops::Range<usize>) -> Prepared {
    let (sender, receiver) = sync_channel(AHEAD);
    thread::spawn(move || {
        for step in steps {
            let parts = examples.step(step, &peers);
            let failed = parts.is_err();
            if sender.send(parts).is_err() || failed {
                return;
            }
        }
    });
    receiver
}
