//! What a run writes and measures: the part of its first worker.

use std::fs;
use std::ops::ControlFlow;

use burn::module::AutodiffModule;
use burn_autodiff::Autodiff;
use paligemma::PaliGemma;
use paligemma_checkpoint::{PaliGemmaConfig, save_adapter, save_module};
use paligemma_nn::NnBackend;

use super::{Event, Finetune, FinetuneError};
use crate::log::{Line, Log};
use crate::run::file;
use crate::{Examples, Progress, Selection, Stepped, Trainer};

/// Keeps the log, the scores and the checkpoints of a run, if it is of the first worker.
pub(super) struct Keeper<'a, B: NnBackend> {
    run: &'a Finetune<'a>,
    config: &'a PaliGemmaConfig,
    held_out: Option<&'a Examples>,
    device: &'a B::Device,
    log: Option<Log>,
}

impl<'a, B: NnBackend> Keeper<'a, B> {
    /// Goes on with the log where the trainer is, and refuses a model that could never be scored.
    pub(super) fn open(
        run: &'a Finetune<'a>,
        config: &'a PaliGemmaConfig,
        held_out: Option<&'a Examples>,
        trainer: &Trainer<Autodiff<B>>,
        device: &'a B::Device,
    ) -> Result<Self, FinetuneError> {
        let keeper = Self { run, config, held_out, device, log: None };
        if run.peers.rank() > 0 {
            return Ok(keeper);
        }
        if let Some(judge) = run.judge {
            judge.check(&keeper.answering(trainer)?)?;
        }
        let log = Some(Log::open(run.run.root(), trainer.steps)?);
        Ok(Self { log, ..keeper })
    }

    /// Writes down what a step came to, and measures where an epoch ends.
    pub(super) fn note(
        &mut self,
        trainer: &Trainer<Autodiff<B>>,
        epoch: f64,
        stepped: Stepped,
        epoch_ends: bool,
        observe: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, FinetuneError> {
        let steps = trainer.steps;
        let Some(log) = &mut self.log else { return Ok(ControlFlow::Continue(())) };
        log.add(Line::step(steps, epoch, stepped))?;
        let Some(held_out) = self.held_out.filter(|_| epoch_ends) else {
            return Ok(ControlFlow::Continue(()));
        };
        let loss = trainer.measure(held_out.in_order(self.run.settings.at_once()))?;
        let score = match self.run.judge {
            Some(judge) => Some(judge.score(&self.answering(trainer)?)?),
            None => None,
        };
        if let Some(log) = &mut self.log {
            log.add(Line::measured(steps, epoch, loss, score))?;
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

    /// Writes a checkpoint and the curves.
    pub(super) fn save(
        &self,
        trainer: &Trainer<Autodiff<B>>,
        seconds: f64,
        observe: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), FinetuneError> {
        let Some(log) = &self.log else { return Ok(()) };
        let (total, stage) = (trainer.steps, 0);
        let progress = Progress { stage, step: total, total, seconds };
        let Finetune { settings, place, run, .. } = *self.run;
        run.save(&progress, |folder| {
            let model = trainer.model.valid();
            match settings.selection()? {
                Selection::Lora(lora) => {
                    save_adapter(&model, folder, &lora.config(&settings.model))?;
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
