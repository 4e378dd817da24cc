//! What the parameters of a module are while a model is in use: dense or packed, and how long.

use std::collections::BTreeMap;

use burn::module::{ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, FloatDType, Int, Tensor};
use paligemma_nn::{NnBackend, Projections};
use paligemma_packed::{PackedFormat, PackedLayout};

use crate::names::{ModulePath, parameter_shapes};
use crate::packed::format_of;

/// A parameter as it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its path in the modules.
    pub path: String,
    /// The published shape, also of a packed matrix.
    pub shape: Vec<usize>,
    /// How it is packed; none if its numbers stand one after the other.
    pub packed: Option<PackedLayout>,
}

impl Held {
    /// How many numbers it has.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// How many bytes it has; `dense` is the type of what is not packed.
    pub fn bytes(&self, dense: FloatDType) -> usize {
        let numbers = || self.count() * DType::from(dense).size();
        self.packed.map_or_else(numbers, |layout| layout.bytes())
    }
}

/// The parameters of `module` in the order of its fields, with its matrices packed in `format` if
/// there is one. Nothing is allocated.
pub fn held_parameters<B: NnBackend, M: Projections<B>>(
    module: M,
    format: Option<PackedFormat>,
) -> Vec<Held> {
    let shapes = parameter_shapes::<B, M>(&module);
    let mut packed = Packed::default();
    if let Some(format) = format {
        module.packed(format).visit(&mut packed);
    }
    let held = |(path, shape): (String, Vec<usize>)| {
        let layout = packed.bytes.get(&path).and_then(|&bytes| {
            let &[outputs, inputs] = shape.as_slice() else { return None };
            let format = format_of([outputs, inputs], bytes)?;
            Some(PackedLayout { format, outputs, inputs })
        });
        Held { path, shape, packed: layout }
    };
    shapes.into_iter().map(held).collect()
}

/// The lengths of packed matrices by their paths.
#[derive(Default)]
struct Packed {
    path: ModulePath,
    bytes: BTreeMap<String, usize>,
}

impl<B: Backend> ModuleVisitor<B> for Packed {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, name: &str, container: &str) {
        self.path.exit(name, container);
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<B, D, Int>>) {
        self.bytes.insert(self.path.joined(), param.lazy_shape().num_elements());
    }
}
