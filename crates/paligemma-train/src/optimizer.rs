//! AdamW as the published recipe has it, and Muon for the matrices of a model that starts from nothing.

use burn::module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{Muon, MuonConfig, Optimizer};
use burn::record::{FullPrecisionSettings, NamedMpkFileRecorder, Record, RecorderError};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use paligemma_nn::NnBackend;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use thiserror::Error;

use crate::{FusedAdamW, Gradients};

/// Rates at the top of the schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OptimizerConfig {
    /// Rate of AdamW, with moments of 0.9 and 0.999: all parameters that Muon leaves to it.
    pub adamw: f64,
    /// What a step takes off the kernels of the tower and of the projector, as a share of them. It
    /// follows the schedule but is not multiplied by the rate, and reaches no other parameter
    /// (big_vision `optax.py`, `make`, and the names in `configs/proj/paligemma/transfers`).
    pub decay: f64,
    /// Rate of Muon: the matrices of the layers. `None` leaves them to AdamW as well.
    pub muon: Option<f64>,
}

/// The optimisers with their states.
///
/// Muon orthogonalises the momentum of a matrix, which trains small models from nothing in far
/// fewer steps than AdamW (docs/pocket.md); it applies to hidden matrices only.
pub struct MixedOptimizer<B, M>
where
    B: AutodiffBackend,
    B::InnerBackend: NnBackend,
    M: AutodiffModule<B>,
{
    config: OptimizerConfig,
    adamw: OptimizerAdaptor<FusedAdamW, M, B>,
    decayed: OptimizerAdaptor<FusedAdamW, M, B>,
    muon: OptimizerAdaptor<Muon<B::InnerBackend>, M, B>,
    groups: Groups,
}

impl<B, M> MixedOptimizer<B, M>
where
    B: AutodiffBackend,
    B::InnerBackend: NnBackend,
    M: AutodiffModule<B>,
{
    /// Optimisers without state for the parameters of `module`.
    pub fn new(module: &M, config: OptimizerConfig) -> Self {
        let mut groups = Groups::new(config);
        module.visit(&mut groups);
        let momentum = MomentumConfig { momentum: 0.95, dampening: 0.0, nesterov: true };
        // burn multiplies the decay by the rate.
        let decay = if config.adamw > 0.0 { config.decay / config.adamw } else { 0.0 };
        let adamw = |weight_decay| {
            let (beta_1, beta_2, epsilon) = (0.9, 0.999, 1e-8);
            OptimizerAdaptor::from(FusedAdamW { beta_1, beta_2, epsilon, weight_decay })
        };
        Self {
            config,
            adamw: adamw(0.0),
            decayed: adamw(decay),
            muon: MuonConfig::new().with_momentum(momentum).init(),
            groups,
        }
    }

    /// One step down the gradients of a loss, all rates times `factor`.
    pub fn step(&mut self, module: M, mut gradients: Gradients, factor: f64) -> M {
        let Groups { matrices, kernels, others, .. } = &self.groups;
        let [matrices, kernels, others] =
            [matrices, kernels, others].map(|ids| gradients.take::<B, M>(ids, &module));
        let rate = self.config.adamw * factor;
        let module = self.adamw.step(rate, module, others);
        let module = self.decayed.step(rate, module, kernels);
        match self.config.muon {
            Some(rate) => self.muon.step(rate * factor, module, matrices),
            None => module,
        }
    }

    /// Writes all states into `folder`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), StateError> {
        write(self.adamw.to_record(), folder, "adamw")?;
        write(self.decayed.to_record(), folder, "decayed")?;
        write(self.muon.to_record(), folder, "muon")
    }

    /// Reads all states back.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn load(self, folder: &Path, device: &B::Device) -> Result<Self, StateError> {
        let adamw = self.adamw.load_record(read::<B, _>(folder, "adamw", device)?);
        let decayed = self.decayed.load_record(read::<B, _>(folder, "decayed", device)?);
        let muon = self.muon.load_record(read::<B, _>(folder, "muon", device)?);
        Ok(Self { adamw, decayed, muon, ..self })
    }
}

type Recorder = NamedMpkFileRecorder<FullPrecisionSettings>;

/// Why the states of optimisers are not kept or found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StateError {
    /// A state cannot be written.
    #[error("cannot write {}: is there room for it? ({})", path.display(), said(cause))]
    Write {
        /// The file.
        path: PathBuf,
        /// What burn says.
        cause: RecorderError,
    },
    /// A state cannot be read.
    #[error("cannot read {}: {}", path.display(), said(cause))]
    Read {
        /// The file.
        path: PathBuf,
        /// What burn says.
        cause: RecorderError,
    },
}

/// burn's words without the name of their kind.
fn said(error: &RecorderError) -> &str {
    match error {
        RecorderError::FileNotFound(text)
        | RecorderError::DeserializeError(text)
        | RecorderError::Unknown(text) => text,
    }
}

fn write<B: Backend, R: Record<B>>(record: R, folder: &Path, name: &str) -> Result<(), StateError> {
    use burn::record::Recorder as _;
    let path = folder.join(name).with_extension("mpk");
    let written = Recorder::default().record(record, path.clone());
    written.map_err(|cause| StateError::Write { path, cause })
}

fn read<B: Backend, R: Record<B>>(
    folder: &Path,
    name: &str,
    device: &B::Device,
) -> Result<R, StateError> {
    use burn::record::Recorder as _;
    let path = folder.join(name).with_extension("mpk");
    let read = Recorder::default().load(path.clone(), device);
    read.map_err(|cause| StateError::Read { path, cause })
}

/// The module with its parameters numbered in the order of its fields.
///
/// Optimisers know parameters by their ids, which are random otherwise: without this, a model that
/// was saved and loaded again would meet the saved optimiser as a stranger and begin without
/// momentum.
pub fn numbered<B: Backend, M: Module<B>>(module: M) -> M {
    struct Number(u64);

    impl<B: Backend> ModuleMapper<B> for Number {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            let (_, tensor, mapper) = param.consume();
            self.0 += 1;
            Param::from_mapped_value(ParamId::from(self.0), tensor, mapper)
        }
    }
    module.map(&mut Number(0))
}

/// Parameters by the optimiser that suits them.
struct Groups {
    config: OptimizerConfig,
    path: Vec<String>,
    /// For Muon.
    matrices: Vec<ParamId>,
    /// For AdamW with decay.
    kernels: Vec<ParamId>,
    others: Vec<ParamId>,
}

impl Groups {
    fn new(config: OptimizerConfig) -> Self {
        let (path, [matrices, kernels, others]) = Default::default();
        Self { config, path, matrices, kernels, others }
    }

    fn is_inside(&self, name: &str) -> bool {
        self.path.iter().any(|part| part == name)
    }

    /// Whether big_vision calls this `kernel`: products and convolutions outside the decoder.
    fn is_kernel(&self, dimensions: usize) -> bool {
        let outside = self.is_inside("vision_tower") || self.is_inside("multi_modal_projector");
        let weight = self.path.last().is_some_and(|name| name == "weight" || name == "Dense");
        outside && weight && dimensions > 1 && !self.is_inside("position_embedding")
    }
}

impl<B: Backend> ModuleVisitor<B> for Groups {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let group = if self.config.muon.is_some() && D == 2 && self.is_inside("layers") {
            &mut self.matrices
        } else if self.config.decay > 0.0 && self.is_kernel(D) {
            &mut self.kernels
        } else {
            &mut self.others
        };
        group.push(param.id);
    }
}
