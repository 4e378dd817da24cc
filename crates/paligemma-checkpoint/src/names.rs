//! The paths of a module's parameters, and their shapes, without allocating any.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Where a walk through a module stands.
#[derive(Default)]
pub(crate) struct ModulePath(Vec<String>);

impl ModulePath {
    /// A path that starts below `prefix`.
    pub(crate) fn below(prefix: &str) -> Self {
        Self(if prefix.is_empty() { Vec::new() } else { vec![prefix.to_owned()] })
    }

    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        if !is_choice(container) {
            self.0.push(name.to_owned());
        }
    }

    pub(crate) fn exit(&mut self, container: &str) {
        if !is_choice(container) {
            self.0.pop();
        }
    }

    pub(crate) fn joined(&self) -> String {
        self.0.join(".")
    }
}

/// The variant of an enum, and what a packed matrix is made of, is a choice of this
/// implementation: it is in no published name.
fn is_choice(container: &str) -> bool {
    container.starts_with("Enum:") || container == "Struct:PackedWeight"
}

/// The path and shape of every parameter of `module`, in the order of its fields.
///
/// Parameters that were never used stay uninitialised: this is free for a model of any size.
pub fn parameter_shapes<B: Backend, M: Module<B>>(module: &M) -> Vec<(String, Vec<usize>)> {
    let mut names = Names { path: ModulePath::default(), shapes: Vec::new() };
    module.visit(&mut names);
    names.shapes
}

struct Names {
    path: ModulePath,
    shapes: Vec<(String, Vec<usize>)>,
}

impl<B: Backend> ModuleVisitor<B> for Names {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.shapes.push((self.path.joined(), param.lazy_shape().to_vec()));
    }
}
