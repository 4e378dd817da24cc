//! `convert`: a model with its matrices packed, in a folder of its own.

use std::path::{Path, PathBuf};

use clap::Args;
use paligemma::{
    DeviceSpec, DeviceWork, Error as ModelError, Model, NnBackend, PackedFormat, Place,
};
use paligemma_checkpoint::{Checkpoint, PaliGemmaConfig, Progress, convert};

use crate::args::Threads;
use crate::bar::Bar;
use crate::error::Error;
use crate::model::ModelName;

/// A model to convert.
#[derive(Args, Debug)]
pub(crate) struct Convert {
    #[command(flatten)]
    model: ModelName,
    /// bf16, int8 or int4
    #[arg(long)]
    dtype: PackedFormat,
    /// The folder to write, for --model
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    #[command(flatten)]
    threads: Threads,
}

impl Convert {
    /// Converts a model, after all of its files were found sound.
    pub(crate) fn run(self) -> Result<(), Error> {
        self.threads.start()?;
        let place = self.model.locate()?;
        if let Some(adapter) = place.adapter() {
            return Err(Error::Unmerged { folder: adapter.folder().to_owned() });
        }
        let config = place.config().map_err(ModelError::from)?;
        place.tokenizer(&config).map_err(ModelError::from)?;
        let checkpoint = place.checkpoint().map_err(ModelError::from)?;
        let work = Work {
            place: &place,
            config: &config,
            checkpoint: &checkpoint,
            format: self.dtype,
            folder: &self.out,
        };
        // Matrices are packed on the CPU, so no GPU is opened unless the build has nothing else.
        let device = DeviceSpec::Flex.resolve().unwrap_or(DeviceSpec::Auto);
        device.run(work).map_err(ModelError::from)?
    }
}

/// Converts with the names and shapes of a model on any backend: nothing is computed.
struct Work<'a> {
    place: &'a Place,
    config: &'a PaliGemmaConfig,
    checkpoint: &'a Checkpoint,
    format: PackedFormat,
    folder: &'a Path,
}

impl DeviceWork for Work<'_> {
    type Output = Result<(), Error>;

    fn run<B: NnBackend>(self, device: B::Device) -> Self::Output {
        let model = Model::<B>::new(&self.config.vision, &self.config.text, &device);
        let others = self.place.other_files().map_err(ModelError::from)?;
        let bar = Bar::new("weights");
        let show = |Progress { done, total, .. }: Progress<'_>| bar.show(done, total);
        convert(model, self.checkpoint, self.format, &others, self.folder, show)?;
        bar.finish();
        Ok(())
    }
}
