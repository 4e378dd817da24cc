//! Adapters of low rank: which matrices get one, and what it is made of.

use std::collections::BTreeSet;

use burn::tensor::backend::AutodiffBackend;
use paligemma::Model;
use paligemma_checkpoint::{AdapterConfig, TABLE};
use paligemma_nn::{Adapter, Dropout, NnBackend, Projections};

use crate::groups::{Names, SelectionError, published};

/// The matrices of the decoder's layers. Named with the decoder, because the vision tower has
/// matrices that are called `q_proj` too.
const DECODER: [&str; 7] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// Masks of adapters are drawn beyond those of the decoder's branches.
const FIRST_PLACE: u64 = 1 << 32;

/// Adapters to train (`LoRA`; over packed matrices, `QLoRA`).
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// The rank of their factors.
    pub rank: usize,
    /// What the product of the factors is worth, times the rank.
    pub alpha: f64,
    /// The part of their input's numbers that is left out.
    pub dropout: f64,
    /// The matrices that get one, by the names of published files, less `.weight`.
    pub targets: Names,
}

/// A matrix that gets an adapter.
pub(crate) struct Target {
    /// Its published name, less `.weight`.
    pub(crate) name: String,
    /// `[out, in]`.
    pub(crate) shape: [usize; 2],
}

impl Lora {
    /// Adapters on the matrices of the decoder's layers, worth twice the product of their factors,
    /// without dropout.
    pub fn new(rank: usize) -> Self {
        let targets = Names::new(DECODER.map(|name| format!("language_model.*.{name}")));
        Self { rank, alpha: 2.0 * rank as f64, dropout: 0.0, targets }
    }

    /// What PEFT's files say of them, for the model `base`, a folder or a hub id, in a version of it.
    pub fn config(&self, base: &str, revision: Option<&str>) -> AdapterConfig {
        let Self { rank, alpha, dropout, .. } = *self;
        let (base, revision) = (Some(base.to_owned()), revision.map(str::to_owned));
        AdapterConfig { base, revision, rank, alpha, dropout }
    }

    /// The same model for one step of training: its adapters leave numbers of their inputs out,
    /// and each of them others. The same seed leaves out the same, in however many pieces and on
    /// whichever backend the step is computed.
    pub fn dropped<B: NnBackend>(&self, model: Model<B>, seed: u64) -> Model<B> {
        if self.dropout == 0.0 {
            return model;
        }
        let dropout = Dropout { rate: self.dropout, seed };
        let mut place = FIRST_PLACE;
        model.each_projection(|_, projection| {
            place += 1;
            projection.map_adapter(|adapter| adapter.with_dropout(dropout, place))
        })
    }

    fn check(&self) -> Result<(), SelectionError> {
        let refused =
            |what, value, expected| Err(SelectionError::Adapter { what, value, expected });
        if self.rank == 0 {
            return refused("rank", 0.0, "at least 1");
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return refused("alpha", self.alpha, "above 0");
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return refused("dropout", self.dropout, "at least 0 and below 1");
        }
        Ok(())
    }

    /// The matrices that get one; nothing is allocated.
    pub(crate) fn targets<B: NnBackend>(
        &self,
        model: Model<B>,
    ) -> Result<(Model<B>, Vec<Target>), SelectionError> {
        self.check()?;
        let mut matrices = Vec::new();
        let model = model.each_projection(|path, projection| {
            let (name, shape) = (published(path), projection.dims());
            matrices.extend((path != TABLE).then_some(Target { name, shape }));
            projection
        });
        let names: Vec<String> = matrices.iter().map(|matrix| matrix.name.clone()).collect();
        let mut fits = self.targets.of(&names)?.into_iter();
        matrices.retain(|_| fits.next().unwrap_or_default());
        Ok((model, matrices))
    }

    /// The model with new adapters, where it has none yet.
    pub(crate) fn add<B: AutodiffBackend + NnBackend>(
        &self,
        model: Model<B>,
    ) -> Result<Model<B>, SelectionError> {
        let (model, targets) = self.targets(model)?;
        let targets: BTreeSet<String> = targets.into_iter().map(|target| target.name).collect();
        let scale = self.alpha / self.rank as f64;
        Ok(model.each_projection(|path, projection| {
            let target = path != TABLE && targets.contains(&published(path));
            if !target || projection.adapter().is_some() {
                return projection;
            }
            let device = projection.device();
            let shape = projection.dims();
            projection.with_adapter(Adapter::fresh(shape, self.rank, scale, &device))
        }))
    }
}
