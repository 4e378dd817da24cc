//! What a user is told when something cannot be done.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use paligemma::image::ImageError;
use paligemma_batch::{BatchError, RowsError};
use paligemma_checkpoint::SaveError;
use paligemma_data::{DataError, PresetError};
use paligemma_metrics::{Metric, MetricError};
use paligemma_processor::ClipError;
use paligemma_search::SearchError;
use paligemma_train::FinetuneError;
use thiserror::Error;

/// Everything that may end a run; each is one line.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The model, its files or a picture.
    #[error(transparent)]
    Model(#[from] paligemma::Error),
    /// Nothing was asked.
    #[error("the question is empty: ask something, such as \"how many cats are there?\"")]
    EmptyQuestion,
    /// The name of a picture to write does not say its format.
    #[error("{} does not say how to write a picture: end it in .png, .jpg or .webp", path.display())]
    PictureName {
        /// The name.
        path: PathBuf,
    },
    /// A drawing in the place of the picture that it is made of.
    #[error("{} is the picture itself: name another file for the drawing", path.display())]
    OverPicture {
        /// The file.
        path: PathBuf,
    },
    /// The name of a file for vectors does not say its format.
    #[error("{} does not say how to write numbers: end it in .npy or .safetensors", path.display())]
    VectorsName {
        /// The name.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// An index cannot be made or searched.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// A picture to write has no folder.
    #[error("cannot write {}: there is no such folder", path.display())]
    NoFolder {
        /// The name of the picture.
        path: PathBuf,
    },
    /// Pictures are to be written into what is not a folder.
    #[error("{} is not a folder: name one, or one to be made", path.display())]
    NotAFolder {
        /// The name.
        path: PathBuf,
    },
    /// A picture cannot be brought into its format.
    #[error("cannot write {}: {source}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// What the encoder says.
        source: ImageError,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A model cannot be converted.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// An adapter where a whole model is needed.
    #[error(
        "{} is an adapter: merge it first, with paligemma export --merge", folder.display()
    )]
    Unmerged {
        /// The adapter's folder.
        folder: PathBuf,
    },
    /// There is no adapter to merge.
    #[error("{model} has no adapter to merge: leave --merge out")]
    NothingToMerge {
        /// The model.
        model: String,
    },
    /// An adapter cannot be converted.
    #[error("an adapter is copied as it is: --dtype is for --merge")]
    AdapterDtype,
    /// A format that cannot hold weights of the type.
    #[error("weights in {format} are f32, f16 or bf16: leave --dtype out, or --format")]
    FormatDtype {
        /// The format.
        format: String,
    },
    /// Packed weights of no type, or of one that is not packed.
    #[error("packed weights are bf16, int8 or int4: choose with --dtype, or name another --format")]
    PackedDtype,
    /// A clip cannot be read.
    #[error(transparent)]
    Clip(#[from] ClipError),
    /// More frames than the model has positions for.
    #[error(
        "the prompt has {tokens} tokens with its {frames} frames, the model's limit is {limit}: \
         {fit} fit, ask for --frames {fit}"
    )]
    TooManyFrames {
        /// Frames asked for.
        frames: usize,
        /// Tokens of the prompt with them.
        tokens: usize,
        /// Positions of the model.
        limit: usize,
        /// Frames that leave room for an answer.
        fit: usize,
    },
    /// A video, and nothing to read it with.
    #[error(
        "{} is not a picture, and there is no ffmpeg to read it as a video: install ffmpeg, or \
         give a folder of frames", path.display()
    )]
    NoFfmpeg {
        /// The file.
        path: PathBuf,
    },
    /// Neither a picture nor a video.
    #[error(
        "ffmpeg cannot read {} as a video: {said}; give a video, a folder of frames or an animated \
         GIF", path.display()
    )]
    NotVideo {
        /// The file.
        path: PathBuf,
        /// What ffmpeg says.
        said: String,
    },
    /// A video gave fewer frames than its packets promise.
    #[error(
        "{} gave {there} of the {asked} frames asked for: it may be damaged; ask for fewer",
        path.display()
    )]
    FramesMissing {
        /// The video.
        path: PathBuf,
        /// Frames asked for.
        asked: usize,
        /// Frames that came.
        there: usize,
    },
    /// ffmpeg is there but cannot be started.
    #[error("cannot start ffmpeg: {0}")]
    Ffmpeg(io::Error),
    /// There is no place for frames.
    #[error("cannot write to the folder for temporary files: {0}")]
    Temporary(io::Error),
    /// There is no list of rows.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// Results cannot be written.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Too many rows have no answer.
    #[error("{failed} of {rows} rows have no answer: see \"error\" in {}", out.display())]
    RowsFailed {
        /// Rows without an answer.
        failed: usize,
        /// All rows.
        rows: usize,
        /// The results.
        out: PathBuf,
    },
    /// Examples cannot be read, imported or written.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Answers cannot be scored.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// A row of data cannot be answered, so that there is no score.
    #[error("line {line} of the data: {source}")]
    EvalRow {
        /// Its line.
        line: String,
        /// Why.
        source: paligemma::Error,
    },
    /// A metric of boxes, and a row whose answer is none.
    #[error(
        "{metric} compares {needs}, and line {line} of the data has {found:?}: use a metric of text, \
         such as exact"
    )]
    NoRegion {
        /// The metric.
        metric: Metric,
        /// What an answer should have.
        needs: &'static str,
        /// The line.
        line: usize,
        /// What it has.
        found: String,
    },
    /// There is no such recipe.
    #[error(transparent)]
    Preset(#[from] PresetError),
    /// The user broke off.
    #[error("interrupted, {done} of {rows} rows are done: the same command with --resume goes on")]
    Interrupted {
        /// Rows with a result.
        done: usize,
        /// All rows.
        rows: usize,
    },
    /// Training.
    #[error(transparent)]
    Finetune(#[from] FinetuneError),
    /// More workers than GPUs that can be told apart.
    #[error(
        "wgpu knows one GPU here, and cannot give one to each of {workers} workers: use --device cuda"
    )]
    OneGpu {
        /// How many were asked for.
        workers: usize,
    },
    /// The user broke a run off.
    #[error(
        "stopped after {steps} of {total} steps, with a checkpoint: `finetune --resume {}` goes on",
        run.display()
    )]
    Stopped {
        /// Steps done.
        steps: usize,
        /// Steps of the whole run.
        total: usize,
        /// The run's folder.
        run: PathBuf,
    },
    /// A new run where there is one.
    #[error("{} holds a run: go on with --resume {}, or name another folder", run.display(), run.display())]
    RunExists {
        /// The folder.
        run: PathBuf,
    },
    /// A run's own file.
    #[error("{} does not say what the run is: {problem}", path.display())]
    RunFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A model does not pass its checks.
    #[error("{model} will not answer as its authors meant: {failed} of {checks} checks failed")]
    Unsound {
        /// The model.
        model: String,
        /// Checks that failed.
        failed: usize,
        /// All checks.
        checks: usize,
    },
    /// Interrupts cannot be caught.
    #[error("cannot listen for interrupts: {0}")]
    Signals(io::Error),
    /// A folder has no revisions.
    #[cfg(feature = "hub")]
    #[error("{} is a folder, which has no revision: leave --revision out", path.display())]
    RevisionOfFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The environment asks for instructions that there are not.
    #[error("{0}")]
    Isa(String),
    /// The threads cannot be started.
    #[error("cannot start the threads: {0}; ask for fewer with --threads")]
    Threads(rayon::ThreadPoolBuildError),
    /// Some pictures could not be read, as was said of each when it was its turn.
    #[error("some pictures could not be read")]
    Reported,
    /// The standard output cannot be written.
    #[error("cannot write to the standard output: {0}")]
    Stdout(#[from] io::Error),
}

impl Error {
    /// The status after an interrupt, as shells have it: 128 and the number of the signal.
    pub(crate) const INTERRUPTED: i32 = 130;

    /// The status that the program ends with.
    pub(crate) fn status(&self) -> ExitCode {
        match self {
            Self::Interrupted { .. } | Self::Stopped { .. } => {
                ExitCode::from(Self::INTERRUPTED as u8)
            }
            _ => ExitCode::FAILURE,
        }
    }

    /// Whether the only trouble is that nobody reads the standard output any more.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The message on one line, whatever a file name or another program's message holds. Faults of
    /// data follow on a line each.
    pub(crate) fn line(&self) -> String {
        let one = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        match self {
            Self::Data(DataError::Faults { faults, .. })
            | Self::Finetune(FinetuneError::Data(DataError::Faults { faults, .. })) => {
                let text = self.to_string();
                let mut lines = vec![one(text.lines().next().unwrap_or_default())];
                lines.extend(faults.iter().map(|fault| format!("  {}", one(&fault.to_string()))));
                lines.join("\n")
            }
            _ => one(&self.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line() {
        let error = Error::NoFolder { path: "a\nb.png".into() };
        assert_eq!(error.line(), "cannot write a b.png: there is no such folder");
    }
}
