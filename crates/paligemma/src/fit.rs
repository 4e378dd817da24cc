//! `fit`: a configuration held against weights, of which nothing is computed or allocated.

use burn::module::Module;
use paligemma_checkpoint::{Checkpoint, LoadError, LoadReport, check_module, parameter_shapes};
use paligemma_nn::NnBackend;

use crate::{Architecture, ColPali, DeviceError, DeviceSpec, DeviceWork, Model};

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
pub fn fit(
    architecture: &Architecture,
    checkpoint: Option<&Checkpoint>,
) -> Result<Fit, DeviceError> {
    // Any backend will do.
    DeviceSpec::Auto.run(Work { architecture, checkpoint })
}

struct Work<'a> {
    architecture: &'a Architecture,
    checkpoint: Option<&'a Checkpoint>,
}

impl DeviceWork for Work<'_> {
    type Output = Fit;

    fn run<B: NnBackend>(self, device: B::Device) -> Fit {
        match self.architecture {
            Architecture::PaliGemma(config) => {
                self.fit::<B, _>(&Model::new(&config.vision, &config.text, &device))
            }
            Architecture::ColPali(config) => self.fit::<B, _>(&ColPali::new(config, &device)),
        }
    }
}

impl Work<'_> {
    fn fit<B: NnBackend, M: Module<B>>(&self, model: &M) -> Fit {
        let shapes = parameter_shapes::<B, M>(model);
        Fit {
            parameters: shapes.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum(),
            weights: self.checkpoint.map(|weights| check_module::<B, M>(model, weights, "")),
        }
    }
}
