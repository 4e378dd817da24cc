//! Which parameters are trained: groups of them by the names of published files.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Int, Tensor};
use glob::Pattern;
use paligemma::Model;
use paligemma_checkpoint::{LAYOUTS, ModulePath, is_factor};
use paligemma_nn::{NnBackend, Projections};
use thiserror::Error;

use crate::adapters::Lora;
use crate::numbered;

/// What is trained of a model.
#[derive(Clone, Debug, PartialEq)]
pub enum Selection {
    /// The parameters whose published names fit one of these patterns ([`Names`]).
    Parameters(Names),
    /// Adapters alone, beside matrices that stay as they are, dense or packed.
    Lora(Lora),
}

/// Patterns of published names, such as `language_model.model.layers.0.mlp.up_proj.weight`.
///
/// A pattern fits a name, and every name that goes on from it with a dot: `vision_tower` is all of
/// the tower. `*` stands for any characters, dots too: `language_model.*.self_attn` is attention in
/// all layers of the decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Names(Vec<String>);

/// A parameter, and whether it is trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The name that published files, or PEFT beside them, have for it.
    pub name: String,
    /// Its shape; that of the matrix if it is packed.
    pub shape: Vec<usize>,
    /// Whether it is trained.
    pub trained: bool,
}

impl Parameter {
    /// How many numbers it has.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Why parameters cannot be selected.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum SelectionError {
    /// A pattern that fits nothing.
    #[error("`{pattern}` fits no parameter of the model; the nearest are {}", quoted(nearest))]
    NoMatch {
        /// The pattern.
        pattern: String,
        /// The most similar names.
        nearest: Vec<String>,
    },
    /// A pattern that cannot be read.
    #[error("`{pattern}` is no pattern: {cause}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A part of the model is to get adapters, which are added to matrices by their names.
    #[error(
        "with --lora, --train names matrices that get adapters, such as q_proj: `{part}` is none"
    )]
    NoMatrix {
        /// The part.
        part: String,
    },
    /// A packed matrix is to be trained.
    #[error("`{name}` is packed and cannot be trained: use --dtype f32, or adapters (--lora)")]
    Packed {
        /// The matrix.
        name: String,
    },
    /// Numbers of an adapter that none can have.
    #[error("the {what} of an adapter is {value}, but must be {expected}")]
    Adapter {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: f64,
        /// What it has to be.
        expected: &'static str,
    },
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl Names {
    /// Patterns of names.
    pub fn new(patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(patterns.into_iter().map(Into::into).collect())
    }

    /// Those of `names` that fit, true, and the others.
    pub(crate) fn of(&self, names: &[String]) -> Result<Vec<bool>, SelectionError> {
        let mut fitting = vec![false; names.len()];
        for pattern in &self.0 {
            let fits = fit(pattern, names)?;
            if !fits.contains(&true) {
                let (pattern, nearest) = (pattern.clone(), nearest(pattern, names));
                return Err(SelectionError::NoMatch { pattern, nearest });
            }
            fitting.iter_mut().zip(fits).for_each(|(fitting, fits)| *fitting |= fits);
        }
        Ok(fitting)
    }
}

fn fit(pattern: &str, names: &[String]) -> Result<Vec<bool>, SelectionError> {
    let compiled = |text: &str| {
        Pattern::new(text).map_err(|error| SelectionError::Pattern {
            pattern: pattern.to_owned(),
            cause: error.to_string(),
        })
    };
    let (whole, below) = (compiled(pattern)?, compiled(&format!("{pattern}.*"))?);
    Ok(names.iter().map(|name| whole.matches(name) || below.matches(name)).collect())
}

/// The three names most like a pattern, one for all layers.
fn nearest(pattern: &str, names: &[String]) -> Vec<String> {
    let mut general: Vec<String> = names.iter().map(|name| any_layer(name)).collect();
    general.sort();
    general.dedup();
    let unlikeness = |name: &String| 1.0 - strsim::jaro_winkler(pattern, name);
    general.sort_by(|a, b| unlikeness(a).total_cmp(&unlikeness(b)));
    general.truncate(3);
    general
}

/// A name with `*` for its numbers.
fn any_layer(name: &str) -> String {
    let part = |part: &str| if part.parse::<usize>().is_ok() { "*" } else { part }.to_owned();
    name.split('.').map(part).collect::<Vec<_>>().join(".")
}

/// The parts of a model that are trained by a name of their own.
pub(crate) const PARTS: [&str; 3] = ["full", "frozen-vision", "projector"];

impl FromStr for Selection {
    type Err = SelectionError;

    /// `full`, `frozen-vision`, `projector`, `lora` (of rank 8), or patterns with commas between
    /// them.
    fn from_str(text: &str) -> Result<Self, SelectionError> {
        Ok(match text {
            "full" => Self::Parameters(Names::new(["*"])),
            "frozen-vision" => {
                Self::Parameters(Names::new(["multi_modal_projector", "language_model"]))
            }
            "projector" => Self::Parameters(Names::new(["multi_modal_projector"])),
            "lora" => Self::Lora(Lora::new(8)),
            patterns => Self::Parameters(Names::new(patterns.split(',').map(str::trim))),
        })
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameters(Names(patterns)) => f.write_str(&patterns.join(",")),
            Self::Lora(lora) => write!(f, "lora of rank {}", lora.rank),
        }
    }
}

/// The model with gradients for what `selection` names and for nothing else, and all parameters in
/// the order of the module. Parameters are [`numbered`], so that an optimiser knows them again.
///
/// For adapters, matrices that have none get new ones, drawn from the backend's random generator;
/// those that have one keep it, so that a run can go on.
///
/// # Errors
/// If a pattern fits nothing, or something packed is to be trained.
pub fn select<B: AutodiffBackend + NnBackend>(
    model: Model<B>,
    selection: &Selection,
) -> Result<(Model<B>, Vec<Parameter>), SelectionError> {
    let model = match selection {
        Selection::Parameters(_) => model,
        Selection::Lora(lora) => lora.add(model)?,
    };
    let (model, found) = listed(model);
    let trained = match selection {
        Selection::Parameters(names) => {
            names.of(&found.iter().map(|found| published(&found.path)).collect::<Vec<_>>())?
        }
        Selection::Lora(_) => found.iter().map(|found| is_factor(&found.path)).collect(),
    };
    let mut parameters = Vec::with_capacity(found.len());
    for (Found { path, shape, packed }, trained) in found.into_iter().zip(trained) {
        let name = published(&path);
        if packed && trained {
            return Err(SelectionError::Packed { name });
        }
        parameters.push(Parameter { name, shape, trained });
    }
    let path = ModulePath::default();
    let model = numbered::<B, _>(model).map(&mut Mark { path, parameters: &parameters });
    Ok((model, parameters))
}

/// What files call the parameter or the module at a path of the modules.
pub(crate) fn published(path: &str) -> String {
    LAYOUTS[0].file_name(path).unwrap_or_else(|| path.to_owned())
}

/// A parameter of a module.
struct Found {
    path: String,
    shape: Vec<usize>,
    packed: bool,
}

fn listed<B: NnBackend>(model: Model<B>) -> (Model<B>, Vec<Found>) {
    let mut matrices = BTreeMap::new();
    let model = model.each_projection(|path, projection| {
        matrices.insert(format!("{path}.weight"), projection.dims().to_vec());
        projection
    });
    let mut list = List { path: ModulePath::default(), matrices, found: Vec::new() };
    model.visit(&mut list);
    (model, list.found)
}

struct List {
    path: ModulePath,
    /// Shapes of all matrices of projections by their paths.
    matrices: BTreeMap<String, Vec<usize>>,
    found: Vec<Found>,
}

impl<B: Backend> ModuleVisitor<B> for List {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, name: &str, container: &str) {
        self.path.exit(name, container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let (path, shape) = (self.path.joined(), param.lazy_shape().to_vec());
        self.found.push(Found { path, shape, packed: false });
    }

    fn visit_int<const D: usize>(&mut self, _param: &Param<Tensor<B, D, Int>>) {
        let path = self.path.joined();
        let shape = self.matrices.get(&path).cloned().unwrap_or_default();
        self.found.push(Found { path, shape, packed: true });
    }
}

/// Says of every parameter whether it needs gradients.
struct Mark<'a> {
    path: ModulePath,
    parameters: &'a [Parameter],
}

impl<B: Backend> ModuleMapper<B> for Mark<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, name: &str, container: &str) {
        self.path.exit(name, container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let name = published(&self.path.joined());
        let mut parameters = self.parameters.iter();
        let trained = parameters.any(|parameter| parameter.trained && parameter.name == name);
        param.set_require_grad(trained)
    }
}
