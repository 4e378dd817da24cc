//! `fit`: a configuration held against weights, of which nothing is computed or allocated.

use paligemma_checkpoint::{
    Checkpoint, LoadError, LoadReport, PaliGemmaConfig, check_module, parameter_shapes,
};
use paligemma_nn::NnBackend;

use crate::{DeviceError, DeviceSpec, DeviceWork, Model};

/// What a configuration makes of a model.
#[derive(Debug)]
pub struct Fit {
    /// Numbers in a model of this configuration.
    pub parameters: usize,
    /// What it takes of the weights, where there are any.
    pub weights: Option<Result<LoadReport, LoadError>>,
}

/// Holds a configuration against weights.
///
/// # Errors
/// If this build has no device.
pub fn fit(config: &PaliGemmaConfig, checkpoint: Option<&Checkpoint>) -> Result<Fit, DeviceError> {
    // Any backend will do.
    DeviceSpec::Auto.run(Work { config, checkpoint })
}

struct Work<'a> {
    config: &'a PaliGemmaConfig,
    checkpoint: Option<&'a Checkpoint>,
}

impl DeviceWork for Work<'_> {
    type Output = Fit;

    fn run<B: NnBackend>(self, device: B::Device) -> Fit {
        let model = Model::<B>::new(&self.config.vision, &self.config.text, &device);
        let shapes = parameter_shapes::<B, _>(&model);
        Fit {
            parameters: shapes.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum(),
            weights: self.checkpoint.map(|weights| check_module::<B, _>(&model, weights, "")),
        }
    }
}
