//! What a run writes and measures: the part of its first worker.

use std::fs;
use std::ops::ControlFlow;
use std::time::Instant;

use burn::module::AutodiffModule;
use burn_autodiff::Autodiff;
use paligemma::PaliGemma;
use paligemma_checkpoint::{PaliGemmaConfig, save_adapter, save_module};
use paligemma_nn::NnBackend;

use super::{Event, Finetune, FinetuneError};
use crate::log::{Line, Log};
use crate::run::file;
use crate::{Examples, Progress, RunError, Selection, Stepped, Trainer};

/// Keeps the log, the scores and the checkpoints of a run, if it is of the first worker.
pub(super) struct Keeper<'a, B: NnBackend> {
    run: &'a Finetune<'a>,
    config: &'a PaliGemmaConfig,
    examples: &'a Examples,
    held_out: Option<&'a Examples>,
    pub(super) device: &'a B::Device,
    log: Option<Log>,
    /// Steps of the checkpoint that was tried last: it is there, or cannot be written.
    tried: usize,
    /// Seconds spent on the run before it was taken up.
    before: f64,
    opened: Instant,
}

impl<'a, B: NnBackend> Keeper<'a, B> {
    /// Goes on with the log where the trainer is, and refuses a model that could never be scored.
    /// A run that is refused before leaves no file in its folder, not even one to lock.
    pub(super) fn open(
        run: &'a Finetune<'a>,
        config: &'a PaliGemmaConfig,
        (examples, held_out): (&'a Examples, Option<&'a Examples>),
        trainer: &Trainer<Autodiff<B>>,
        device: &'a B::Device,
    ) -> Result<Self, FinetuneError> {
        let (log, tried, before, opened) = (None, trainer.steps, 0.0, Instant::now());
        let keeper = Self { run, config, examples, held_out, device, log, tried, before, opened };
        if run.peers.rank() > 0 {
            return Ok(keeper);
        }
        if let Some(judge) = run.judge {
            judge.check(&keeper.answering(trainer)?)?;
        }
        run.run.lock()?;
        let latest = run.run.latest()?.map(|(_, progress)| progress).unwrap_or_default();
        if latest.total != trainer.steps {
            // Another process went on with the run while the model was read.
            return Err(RunError::Locked { path: run.run.root().to_owned() }.into());
        }
        let log = Some(Log::open(run.run.root(), trainer.steps)?);
        Ok(Self { log, before: latest.seconds, ..keeper })
    }

    /// Writes down what a step came to; where an epoch ends, saves and measures.
    pub(super) fn note(
        &mut self,
        trainer: &Trainer<Autodiff<B>>,
        epoch: f64,
        stepped: Stepped,
        epoch_ends: bool,
        observe: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, FinetuneError> {
        let Some(log) = &mut self.log else { return Ok(ControlFlow::Continue(())) };
        log.add(Line::step(trainer.steps, epoch, stepped))?;
        if !epoch_ends {
            return Ok(ControlFlow::Continue(()));
        }
        // Measuring takes long and may fail, by a picture for one: the epoch is safe before.
        self.save(trainer, observe)?;
        self.measure(trainer, epoch, observe)
    }

    /// Measures what the run that left the trainer's checkpoint did not come to measure.
    pub(super) fn catch_up(
        &mut self,
        trainer: &Trainer<Autodiff<B>>,
        epoch: f64,
        observe: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, FinetuneError> {
        // A line without a step's loss is one of what was measured.
        let of_measured = |line: &Line| line.step == trainer.steps && line.loss.is_none();
        let is_measured = |log: &Log| log.lines().iter().any(of_measured);
        if self.log.as_ref().is_none_or(is_measured) {
            return Ok(ControlFlow::Continue(()));
        }
        self.measure(trainer, epoch, observe)
    }

    fn measure(
        &mut self,
        trainer: &Trainer<Autodiff<B>>,
        epoch: f64,
        observe: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, FinetuneError> {
        let steps = trainer.steps;
        let Some(held_out) = self.held_out else { return Ok(ControlFlow::Continue(())) };
        let loss = trainer.measure(held_out.in_order(self.run.settings.at_once()))?;
        let score = match self.run.judge {
            Some(judge) => Some(judge.score(&self.answering(trainer)?)?),
            None => None,
        };
        if let Some(log) = &mut self.log {
            log.add(Line::measured(steps, epoch, loss, score))?;
            log.plot()?;
        }
        Ok(observe(Event::Measured { steps, loss, score }))
    }

    /// The model as it is, ready to answer.
    fn answering(&self, trainer: &Trainer<Autodiff<B>>) -> Result<PaliGemma, FinetuneError> {
        let Finetune { settings, place, device, .. } = *self.run;
        let storage = settings.held(self.run.storage);
        let model = trainer.model.valid();
        Ok(PaliGemma::around(model, place, storage, device, self.device.clone())?)
    }

    /// Writes a checkpoint and the curves, if that was not tried after this step already.
    pub(super) fn save(
        &mut self,
        trainer: &Trainer<Autodiff<B>>,
        observe: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), FinetuneError> {
        let (total, stage) = (trainer.steps, 0);
        if self.tried == total {
            return Ok(());
        }
        let Some(log) = &self.log else { return Ok(()) };
        self.tried = total;
        let seconds = self.before + self.opened.elapsed().as_secs_f64();
        let examples = Some(self.examples.fingerprint());
        let progress = Progress { stage, step: total, total, seconds, examples };
        let Finetune { settings, place, run, .. } = *self.run;
        run.save(&progress, |folder| {
            let model = trainer.model.valid();
            match settings.selection()? {
                Selection::Lora(lora) => {
                    let config = lora.config(&settings.model, settings.revision.as_deref());
                    save_adapter(&model, folder, &config)?;
                }
                Selection::Parameters(_) => {
                    save_module(&model, folder, self.config, None)?;
                    for (name, contents) in place.other_files(self.config)? {
                        if name != "config.json" {
                            let path = folder.join(name);
                            fs::write(&path, contents).map_err(file("write", &path))?;
                        }
                    }
                }
            }
            trainer.optimizer.save(folder)?;
            Ok::<_, FinetuneError>(())
        })?;
        log.plot()?;
        // Whoever wants to stop says so after the next step.
        let _ = observe(Event::Saved { steps: total });
        Ok(())
    }
}
