//! What a run keeps on disk, and the published form of its result.

use std::path::Path;

use burn::module::AutodiffModule;
use burn::tensor::FloatDType;
use burn_flex::{Flex, FlexDevice};
use paligemma::Model;
use paligemma_checkpoint::{Checkpoint, load_module, save_masks, save_module};
use paligemma_pocket::vocabulary;
use paligemma_train::{MixedOptimizer, Progress, RunDirectory, numbered};

use super::language::last_stage;
use super::model::{config, new};
use super::pupil::{Pointer, Pupil};
use super::{Result, Training, masks};

/// A model in training and how far it has come.
pub(crate) struct State {
    pub(crate) model: Model<Training>,
    pub(crate) progress: Progress,
}

/// What teaches the model within a stage.
pub(crate) struct Tutor<'a> {
    pub(crate) optimizer: &'a MixedOptimizer<Training, Pupil<Training>>,
    pub(crate) pointer: Option<&'a Pointer<Training>>,
}

impl State {
    /// The latest checkpoint of a run, or a new model.
    pub(crate) fn open(run: &RunDirectory, device: &FlexDevice) -> Result<Self> {
        let Some((folder, progress)) = run.latest()? else {
            let model = numbered::<Training, _>(new::<Training>(&config(), device));
            return Ok(Self { model, progress: Progress::default() });
        };
        println!("going on from {}", folder.display());
        Ok(Self { model: Self::read(&folder, device)?, progress })
    }

    /// The model of a checkpoint in a folder, in f32.
    fn read(folder: &Path, device: &FlexDevice) -> Result<Model<Training>> {
        let config = config();
        let empty = Model::<Training>::new(&config.vision, &config.text, device);
        let files = Checkpoint::open(folder)?;
        let (model, _) = load_module::<Training, _>(empty, &files, "", Some(FloatDType::F32))?;
        Ok(numbered::<Training, _>(model))
    }

    /// Makes this state the run's latest, with what else a stage that goes on needs.
    pub(crate) fn save(&self, run: &RunDirectory, tutor: Option<Tutor>) -> Result<()> {
        run.save(&self.progress, |folder| -> std::result::Result<(), Failure> {
            save_module::<Flex, _>(&self.model.valid(), folder, &config(), None)?;
            if let Some(tutor) = tutor {
                tutor.optimizer.save(folder)?;
                tutor.pointer.map_or(Ok(()), |pointer| pointer.save(folder))?;
            }
            Ok(())
        })
        .map_err(|failure| failure.0)
    }
}

/// Any error, so that `?` joins those of two crates.
struct Failure(Box<dyn std::error::Error>);

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

/// Makes an exported checkpoint, with its masks, the beginning of a new run's last stage.
pub(crate) fn adopt(run: &RunDirectory, exported: &Path) -> Result<()> {
    if run.latest()?.is_some() {
        let root = run.root().display();
        return Err(format!("{root} holds a run: go on with it, or name another folder").into());
    }
    save_masks(&masks::read(&exported.join(masks::FILE))?, run.root().join(masks::FILE))?;
    let model = State::read(exported, &FlexDevice)?;
    let progress = Progress { stage: last_stage(), ..Progress::default() };
    State { model, progress }.save(run, None)
}

/// Writes a new model, with the tokenizer beside it.
pub(crate) fn begin(out: &Path) -> Result<()> {
    let config = config();
    std::fs::create_dir_all(out)?;
    save_module::<Flex, _>(&new::<Flex>(&config, &FlexDevice), out, &config, None)?;
    Ok(vocabulary::write(out)?)
}

/// Writes the latest checkpoint of `run` in half precision and the tokenizer beside it.
pub(crate) fn export(run: &Path, out: &Path) -> Result<()> {
    let run = RunDirectory::create(run)?;
    let Some((folder, progress)) = run.latest()? else {
        return Err(format!("{} holds no checkpoint: train first", run.root().display()).into());
    };
    let config = config();
    let empty = Model::<Flex>::new(&config.vision, &config.text, &FlexDevice);
    let (model, _) = load_module::<Flex, _>(empty, &Checkpoint::open(&folder)?, "", None)?;
    save_module::<Flex, _>(&model, out, &config, Some(FloatDType::F16))?;
    vocabulary::write(out)?;
    save_masks(&masks::read(&run.root().join(masks::FILE))?, out.join(masks::FILE))?;
    println!("wrote {} after {} steps", out.display(), progress.total);
    Ok(())
}
