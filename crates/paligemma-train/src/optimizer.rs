//! Muon for the matrices inside the layers, AdamW for everything else.

use burn::module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamW, AdamWConfig, GradientsParams, Muon, MuonConfig, Optimizer};
use burn::record::{FullPrecisionSettings, NamedMpkFileRecorder, Record, RecorderError};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use std::path::Path;

/// Rates of the two optimisers at the top of the schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerConfig {
    /// Rate of AdamW: norms, biases, embeddings, positions and the projector.
    pub adamw: f64,
    /// Rate of Muon: the matrices of the layers. `None` leaves them to AdamW as well.
    pub muon: Option<f64>,
}

/// Both optimisers with their states.
///
/// Muon orthogonalises the momentum of a matrix, which trains small models from nothing in far
/// fewer steps than AdamW (docs/pocket.md); it applies to hidden matrices only.
pub struct MixedOptimizer<B: AutodiffBackend, M: AutodiffModule<B>> {
    config: OptimizerConfig,
    adamw: OptimizerAdaptor<AdamW, M, B>,
    muon: OptimizerAdaptor<Muon<B::InnerBackend>, M, B>,
    matrices: Vec<ParamId>,
    others: Vec<ParamId>,
}

impl<B: AutodiffBackend, M: AutodiffModule<B>> MixedOptimizer<B, M> {
    /// Optimisers without state for the parameters of `module`.
    pub fn new(module: &M, config: OptimizerConfig) -> Self {
        let mut groups = Groups { path: Vec::new(), matrices: Vec::new(), others: Vec::new() };
        module.visit(&mut groups);
        if config.muon.is_none() {
            groups.others.append(&mut groups.matrices);
        }
        let momentum = MomentumConfig { momentum: 0.95, dampening: 0.0, nesterov: true };
        Self {
            config,
            adamw: AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.0).init(),
            muon: MuonConfig::new().with_momentum(momentum).init(),
            matrices: groups.matrices,
            others: groups.others,
        }
    }

    /// One step down the gradients of a loss, both rates times `factor`.
    pub fn step(&mut self, module: M, mut gradients: B::Gradients, factor: f64) -> M {
        let others = GradientsParams::from_params::<B, M>(&mut gradients, &module, &self.others);
        let matrices =
            GradientsParams::from_params::<B, M>(&mut gradients, &module, &self.matrices);
        let module = self.adamw.step(self.config.adamw * factor, module, others);
        match self.config.muon {
            Some(rate) => self.muon.step(rate * factor, module, matrices),
            None => module,
        }
    }

    /// Writes both states into `folder`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), RecorderError> {
        write(self.adamw.to_record(), folder, "adamw")?;
        write(self.muon.to_record(), folder, "muon")
    }

    /// Reads both states back.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn load(self, folder: &Path, device: &B::Device) -> Result<Self, RecorderError> {
        let adamw = self.adamw.load_record(read::<B, _>(folder, "adamw", device)?);
        let muon = self.muon.load_record(read::<B, _>(folder, "muon", device)?);
        Ok(Self { adamw, muon, ..self })
    }
}

type Recorder = NamedMpkFileRecorder<FullPrecisionSettings>;

fn write<B: Backend, R: Record<B>>(
    record: R,
    folder: &Path,
    name: &str,
) -> Result<(), RecorderError> {
    use burn::record::Recorder as _;
    Recorder::default().record(record, folder.join(name))
}

fn read<B: Backend, R: Record<B>>(
    folder: &Path,
    name: &str,
    device: &B::Device,
) -> Result<R, RecorderError> {
    use burn::record::Recorder as _;
    Recorder::default().load(folder.join(name), device)
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

/// Sorts parameters by the optimiser that suits them.
struct Groups {
    path: Vec<String>,
    matrices: Vec<ParamId>,
    others: Vec<ParamId>,
}

impl<B: Backend> ModuleVisitor<B> for Groups {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let inside_layer = self.path.iter().any(|name| name == "layers");
        let group = if D == 2 && inside_layer { &mut self.matrices } else { &mut self.others };
        group.push(param.id);
    }
}
