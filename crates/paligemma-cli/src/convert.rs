//! `convert`: a model with its matrices packed, in a folder of its own.

use std::path::Path;

use paligemma::{DeviceSpec, DeviceWork, Error as ModelError, Model, NnBackend, PackedFormat};
use paligemma_checkpoint::{Checkpoint, PaliGemmaConfig, Progress, convert};

use crate::bar::Bar;
use crate::error::Error;
use crate::model::{ModelName, Place};

/// Converts a model, after all of its files were found sound.
pub(crate) fn run(model: &ModelName, format: PackedFormat, folder: &Path) -> Result<(), Error> {
    let place = model.locate()?;
    let config = place.config().map_err(ModelError::from)?;
    place.tokenizer(&config).map_err(ModelError::from)?;
    let checkpoint = place.checkpoint().map_err(ModelError::from)?;
    let convert =
        Convert { place: &place, config: &config, checkpoint: &checkpoint, format, folder };
    // Matrices are packed on the CPU, so no GPU is opened unless the build has nothing else.
    let device = DeviceSpec::Flex.resolve().unwrap_or(DeviceSpec::Auto);
    device.run(convert).map_err(ModelError::from)?
}

/// Converts with the names and shapes of a model on any backend: nothing is computed.
struct Convert<'a> {
    place: &'a Place,
    config: &'a PaliGemmaConfig,
    checkpoint: &'a Checkpoint,
    format: PackedFormat,
    folder: &'a Path,
}

impl DeviceWork for Convert<'_> {
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
