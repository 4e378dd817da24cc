//! `AdapterFile`: an adapter's factors, left in their file, and the model that gets them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Tensor};
use paligemma_nn::{Adapter, NnBackend, Projections};

use super::{ADAPTER_WEIGHTS, AdapterConfig, AdapterError, BEGINNING, ENDINGS, OLDER_WEIGHTS};
use crate::layout::Layout;
use crate::load::nearest;
use crate::source::{self, SourceTensor};

/// The table of embeddings, which is also the head: an adapter of the head would not be one of
/// the embeddings, and cannot be merged.
pub const TABLE: &str = "language_model.embed_tokens";

/// An adapter in a folder: configuration read and checked, factors left in the mapped file.
#[derive(Debug)]
pub struct AdapterFile {
    config: AdapterConfig,
    folder: PathBuf,
    /// A and B by the path of the projection in the modules.
    pub(crate) factors: BTreeMap<String, [SourceTensor; 2]>,
}

/// The name of the file with an adapter's factors.
fn weights(folder: &Path) -> &'static str {
    let is_older = !folder.join(ADAPTER_WEIGHTS).exists() && folder.join(OLDER_WEIGHTS).exists();
    if is_older { OLDER_WEIGHTS } else { ADAPTER_WEIGHTS }
}

impl AdapterFile {
    /// Opens the adapter in `folder`, whose tensors may be named as the modules of any version of
    /// transformers are.
    ///
    /// # Errors
    /// If a file is missing or unsound, the configuration asks for more than plain `LoRA`, or a
    /// tensor is no factor, stands alone, or is not of the rank that the configuration says.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, AdapterError> {
        let folder = folder.as_ref().to_owned();
        let config = AdapterConfig::open(&folder)?;
        let tensors = source::open(&folder.join(weights(&folder)))?;
        let inner: Vec<_> =
            tensors.iter().filter_map(|tensor| tensor.name.strip_prefix(BEGINNING)).collect();
        let layout = Layout::detect(&inner);
        let mut pairs: BTreeMap<String, [Option<SourceTensor>; 2]> = BTreeMap::new();
        for tensor in tensors {
            let Some((path, which)) = place(layout, &tensor.name) else {
                return Err(AdapterError::Name { tensor: tensor.name, path: tensor.path });
            };
            pairs.entry(path).or_default()[which] = Some(tensor);
        }
        let mut factors = BTreeMap::new();
        for (path, pair) in pairs {
            let pair = match pair {
                [Some(a), Some(b)] => [a, b],
                [one, other] => {
                    // An entry begins with one of the two.
                    let Some(found) = one.or(other) else { continue };
                    return Err(AdapterError::Alone { tensor: found.name, path: found.path });
                }
            };
            factors.insert(path, pair);
        }
        Ok(Self { config, folder, factors })
    }

    /// What the adapter is.
    pub fn config(&self) -> &AdapterConfig {
        &self.config
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its files as they are, names and contents.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn files(&self) -> Result<Vec<(String, Vec<u8>)>, AdapterError> {
        let read = |name: &str| {
            let path = self.folder.join(name);
            let contents = std::fs::read(&path);
            contents
                .map(|contents| (name.to_owned(), contents))
                .map_err(|source| AdapterError::Read { path, source })
        };
        [super::ADAPTER_CONFIG, weights(&self.folder)].into_iter().map(read).collect()
    }

    /// The whole model `module` with this adapter beside its projections ([`Projections`]), in f32.
    ///
    /// # Errors
    /// If the adapter has a factor for a part that the model lacks, or of another shape.
    pub fn apply<B: NnBackend, M: Projections<B>>(&self, module: M) -> Result<M, AdapterError> {
        let mut known = BTreeMap::new();
        let module = module.each_projection(|path, projection| {
            known.insert(path.to_owned(), projection.dims());
            projection
        });
        self.check(&known)?;
        let mut failed = None;
        let module = module.each_projection(|path, projection| {
            let Some(adapter) = self.adapter(path, &projection.device()) else { return projection };
            match adapter {
                Ok(adapter) => projection.with_adapter(adapter),
                Err(error) => {
                    failed = Some(error);
                    projection
                }
            }
        });
        failed.map_or(Ok(module), Err)
    }

    /// The whole model `module` with this adapter: added to matrices that are dense, beside those that
    /// are packed.
    ///
    /// # Errors
    /// As [`AdapterFile::apply`].
    pub fn merge<B: NnBackend, M: Projections<B>>(&self, module: M) -> Result<M, AdapterError> {
        let module = self.apply::<B, M>(module)?;
        Ok(module.each_projection(|_, projection| projection.merged()))
    }

    /// The factors for the projection at `path`.
    pub(crate) fn adapter<B: NnBackend>(
        &self,
        path: &str,
        device: &B::Device,
    ) -> Option<Result<Adapter<B>, AdapterError>> {
        let factors = self.factors.get(path)?;
        let load = |factor: &SourceTensor| -> Result<Tensor<B, 2>, AdapterError> {
            let data = factor.float(DType::F32).map_err(|_| factor.no_factor())?;
            Ok(Tensor::from_data(data, (device, DType::F32)))
        };
        let [a, b] = factors;
        let scale = self.config.scale();
        Some(load(a).and_then(|a| Ok(Adapter::new(a, load(b)?, scale))))
    }

    /// Holds the factors against the projections of a model.
    pub(crate) fn check(&self, known: &BTreeMap<String, [usize; 2]>) -> Result<(), AdapterError> {
        let missing: Vec<_> = self
            .factors
            .iter()
            .filter(|(path, _)| !known.contains_key(*path) || *path == TABLE)
            .collect();
        if let [(path, [tensor, _]), more @ ..] = missing.as_slice() {
            let names = known.keys().map(String::as_str).filter(|path| *path != TABLE);
            return Err(AdapterError::Unknown {
                tensor: tensor.name.clone(),
                path: tensor.path.clone(),
                more: more.len(),
                nearest: nearest(path, names).unwrap_or_default(),
            });
        }
        for (path, [a, b]) in &self.factors {
            let ([output, input], rank) = (known[path], self.config.rank);
            for (factor, expected) in [(a, [rank, input]), (b, [output, rank])] {
                if factor.shape != expected {
                    return Err(AdapterError::Shape {
                        tensor: factor.name.clone(),
                        path: factor.path.clone(),
                        expected,
                        found: factor.shape.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

impl SourceTensor {
    fn no_factor(&self) -> AdapterError {
        AdapterError::Name { tensor: self.name.clone(), path: self.path.clone() }
    }
}

/// The path of the projection that a tensor of PEFT is for, and which factor it is.
fn place(layout: &Layout, name: &str) -> Option<(String, usize)> {
    let inner = name.strip_prefix(BEGINNING)?;
    let which = ENDINGS.iter().position(|ending| inner.ends_with(ending))?;
    let path = layout.module_path(inner)?;
    Some((path.strip_suffix(ENDINGS[which])?.to_owned(), which))
}
