//! The paths of a module's parameters, and their shapes, without allocating any.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Where a walk through a module stands, in the names of published files.
#[derive(Debug, Default)]
pub struct ModulePath(Vec<String>);

impl ModulePath {
    /// A path that starts below `prefix`.
    pub(crate) fn below(prefix: &str) -> Self {
        Self(if prefix.is_empty() { Vec::new() } else { vec![prefix.to_owned()] })
    }

    /// Goes into a field: [`burn::module::ModuleVisitor::enter_module`].
    pub fn enter(&mut self, name: &str, container: &str) {
        self.0.extend(published(name, container).map(str::to_owned));
    }

    /// Comes out of it again.
    pub fn exit(&mut self, name: &str, container: &str) {
        if published(name, container).is_some() {
            self.0.pop();
        }
    }

    /// The names of all fields on the way, with dots between them.
    pub fn joined(&self) -> String {
        self.0.join(".")
    }
}

/// What files call a field; nothing of what only this implementation has: the variant of an enum,
/// what a packed matrix is made of, an adapter's place in a projection.
fn published<'a>(name: &'a str, container: &str) -> Option<&'a str> {
    match (container, name) {
        ("Struct:PackedWeight", _) | ("Struct:Projection", "adapter") => None,
        ("Struct:Adapter", "lora_a") => Some("lora_A.weight"),
        ("Struct:Adapter", "lora_b") => Some("lora_B.weight"),
        _ if container.starts_with("Enum:") => None,
        _ => Some(name),
    }
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

    fn exit_module(&mut self, name: &str, container: &str) {
        self.path.exit(name, container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.shapes.push((self.path.joined(), param.lazy_shape().to_vec()));
    }
}
