//! `finetune`: a model trained on data of one's own.

#[cfg(feature = "dashboard")]
mod dashboard;
mod recipe;
mod scores;
mod shown;
mod workers;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use clap::Args;
use paligemma::{DeviceSpec, DeviceWork, Dtype, Error as ModelError, NnBackend, Place};
use paligemma_train::{
    Event, Finetune as Run, FinetuneError, Judge, Outcome, PeersError, RunDirectory, Settings,
};
use serde::{Deserialize, Serialize};

use crate::args::Threads;
use crate::error::Error;
use crate::interrupt::stop_at_interrupt;
use crate::model::ModelName;
use recipe::Recipe;
use scores::Scores;
use shown::{Shown, line};
use workers::{Worker, Workers, beside};

/// The file in a run's folder that says what was asked.
const RUN: &str = "run.json";

/// A model to train, and how.
#[derive(Args, Debug)]
pub(crate) struct Finetune {
    /// Go on with a run that was broken off, or that ended early
    #[arg(long, value_name = "RUN", conflicts_with_all = ["data", "out", "ModelName", "Recipe"])]
    resume: Option<PathBuf>,
    #[command(flatten)]
    model: ModelName,
    /// Rows such as {"image": "a.png", "prefix": "caption en", "suffix": "a cat"}, one a line
    #[arg(long, value_name = "FILE.jsonl", required_unless_present = "resume")]
    data: Option<PathBuf>,
    /// The folder of the run
    #[arg(long, value_name = "RUN", required_unless_present = "resume")]
    out: Option<PathBuf>,
    #[command(flatten)]
    recipe: Recipe,
    #[command(flatten)]
    workers: Workers,
    #[command(flatten)]
    threads: Threads,
}

/// What a run's folder keeps of what was asked.
#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    settings: Settings,
    #[serde(flatten)]
    model: ModelName,
    device: String,
    dtype: String,
}

impl Finetune {
    /// Trains a model; an interrupt ends the run after a step, with a checkpoint.
    pub(crate) fn run(self) -> Result<(), Error> {
        self.threads.start()?;
        let stop = stop_at_interrupt()?;
        let (folder, asked, place) = match &self.resume {
            Some(folder) => Self::taken_up(folder)?,
            None => self.begun()?,
        };
        let parse = |problem: String| Error::RunFile { path: folder.join(RUN), problem };
        let device: DeviceSpec = asked.device.parse().map_err(|error| parse(format!("{error}")))?;
        let dtype: Dtype = asked.dtype.parse().map_err(parse)?;
        let device = device.resolve().map_err(ModelError::from)?;
        asked.settings.check()?;
        let _new = (!folder.exists()).then(|| GoneIfEmpty(folder.clone()));
        let run = RunDirectory::create(&folder).map_err(FinetuneError::from)?;
        let (path, text) = (folder.join(RUN), serde_json::to_string_pretty(&asked));
        let text = text.map_err(|error| parse(error.to_string()))?;
        let scores = Scores::of(&asked.settings)?;
        let mut workers = self.workers.on(device)?.into_iter();
        let first = workers.next();
        let job = Arc::new(Job { settings: asked.settings, place, run, dtype });
        let others: Vec<_> = workers.map(|worker| job.beside(worker)).collect();
        let mut failure = None;
        let mut shown = Shown::new(job.settings.metric.clone(), job.settings.epochs);
        let writes = self.resume.is_none();
        let observe = &mut |event: Event<'_>| {
            shown.show(&event);
            // A run that cannot begin leaves nothing that would have to be taken up.
            if let (Event::Begun { .. }, true) = (&event, writes) {
                failure = paligemma_files::write(&path, text.as_bytes()).err();
            }
            let asked = stop.load(Ordering::Relaxed) || shown.wants_stop();
            let stopped = failure.is_some() || asked;
            if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let Some(first) = first else { unreachable!("there is one worker at least") };
        let outcome = job.work(&first, scores.as_ref(), observe);
        // What is said from here on is for the terminal as it was.
        drop(shown);
        if let Ok(_) | Err(Error::Finetune(FinetuneError::Peers(PeersError::Another))) = outcome {
            // One of them may have failed, and says why.
            for other in others {
                drop(other.join());
            }
        }
        let outcome = outcome?;
        if let Some(error) = failure {
            return Err(Error::Write { path, source: error });
        }
        match outcome {
            Outcome::Done => {
                let folder = folder.display();
                line(&format!("done: `--model {folder}` answers with what was learnt"));
                Ok(())
            }
            Outcome::Stopped { steps, total } => Err(Error::Stopped { steps, total, run: folder }),
        }
    }

    /// What is asked of a new run, whose folder must not hold one.
    fn begun(&self) -> Result<(PathBuf, Asked, Place), Error> {
        let (Some(data), Some(folder)) = (self.data.clone(), self.out.clone()) else {
            unreachable!("clap requires both of a new run");
        };
        if folder.join(RUN).exists() {
            return Err(Error::RunExists { run: folder });
        }
        let (model, place) = (self.model.clone().anywhere(), self.model.locate()?);
        let config = place.config().map_err(ModelError::from)?;
        let settings = Settings::new(model.name(), full(data));
        let settings = Settings { revision: model.revision(), ..settings };
        let asked = Asked {
            settings: self.recipe.of(settings, config.vision.image_size)?,
            model,
            device: self.recipe.device.unwrap_or_default().to_string(),
            dtype: self.recipe.dtype.unwrap_or_default().to_string(),
        };
        asked.settings.check()?;
        asked.settings.selection().map_err(FinetuneError::from)?;
        Ok((folder, asked, place))
    }

    /// What was asked of a run that is taken up.
    fn taken_up(folder: &Path) -> Result<(PathBuf, Asked, Place), Error> {
        let path = folder.join(RUN);
        let problem = |problem: String| Error::RunFile { path: path.clone(), problem };
        let text = fs::read_to_string(&path).map_err(|error| problem(error.to_string()))?;
        let asked: Asked =
            serde_json::from_str(&text).map_err(|error| problem(error.to_string()))?;
        let Settings { model, revision, .. } = &asked.settings;
        let place = asked.model.clone().named(model, revision.clone()).locate()?;
        Ok((folder.to_owned(), asked, place))
    }
}

/// The full path of a file: a run may be taken up from another folder.
fn full(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// The folder of a new run, which goes again if the run was refused before it wrote anything.
struct GoneIfEmpty(PathBuf);

impl Drop for GoneIfEmpty {
    fn drop(&mut self) {
        // A folder with files stays: the system refuses to remove it.
        fs::remove_dir(&self.0).ok();
    }
}

/// What all workers of a run do.
struct Job {
    settings: Settings,
    place: Place,
    run: RunDirectory,
    dtype: Dtype,
}

impl Job {
    /// The part of a worker of this thread.
    fn work(
        &self,
        worker: &Worker,
        scores: Option<&Scores>,
        observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Outcome, Error> {
        let work = Work { job: self, worker, scores, observe };
        worker.device.run(work).map_err(ModelError::from)?
    }

    /// The part of a worker of a thread of its own.
    fn beside(self: &Arc<Self>, worker: Worker) -> JoinHandle<()> {
        let job = Arc::clone(self);
        beside(move || job.work(&worker, None, &mut |_| ControlFlow::Continue(())).map(drop))
    }
}

/// A worker's part on a backend.
struct Work<'a> {
    job: &'a Job,
    worker: &'a Worker,
    scores: Option<&'a Scores>,
    observe: &'a mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
}

impl DeviceWork for Work<'_> {
    type Output = Result<Outcome, Error>;

    fn run<B: NnBackend>(self, device: B::Device) -> Self::Output {
        let Self { job, worker, scores, observe } = self;
        let (Job { settings, place, run, .. }, Worker { peers, device: spec }) = (job, worker);
        let checkpoint = place.checkpoint().map_err(ModelError::from)?;
        // Parameters that are trained themselves are f32, and so is what is computed unless asked.
        let dtype = match job.dtype {
            Dtype::Auto if settings.lora.is_none() => Dtype::F32,
            dtype => dtype,
        };
        let storage =
            dtype.storage(*spec, &checkpoint, |dtype| B::supports_dtype(&device, dtype.into()))?;
        let judge = scores.map(|scores| scores as &dyn Judge);
        let run = Run { settings, place, run, storage, device: *spec, judge, peers };
        Ok(run.run::<B>(&device, observe)?)
    }
}
