//! A walk through a module that replaces its projections.

use burn::module::Module;
use paligemma_packed::PackedFormat;

use crate::{NnBackend, Projection};

/// A module with projections in it, each of which can be replaced.
///
/// burn's own walk ([`Module::map`]) reaches parameters; this one reaches what holds them.
pub trait Projections<B: NnBackend>: Module<B> {
    /// The same module with every projection as `walk` makes it.
    #[must_use]
    fn map_projections(self, walk: &mut Walk<'_, B>) -> Self;

    /// The same module with every projection as `change` makes it, which is told its path in the
    /// module: the names of fields, and numbers in lists, with dots between them.
    #[must_use]
    fn each_projection(self, mut change: impl FnMut(&str, Projection<B>) -> Projection<B>) -> Self {
        self.map_projections(&mut Walk { path: Vec::new(), change: &mut change })
    }

    /// The same module with packed matrices instead of its own, whose values are not read: as in
    /// a new module, the parameters are there to be loaded. What is no matrix of a projection
    /// stays as it is.
    #[must_use]
    fn packed(self, format: PackedFormat) -> Self {
        self.each_projection(|_, projection| projection.with_packed_weight(format))
    }
}

/// Where a walk stands, and what it does to projections.
pub struct Walk<'a, B: NnBackend> {
    path: Vec<String>,
    change: &'a mut dyn FnMut(&str, Projection<B>) -> Projection<B>,
}

impl<B: NnBackend> std::fmt::Debug for Walk<'_, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk").field("path", &self.path).finish_non_exhaustive()
    }
}

impl<B: NnBackend> Walk<'_, B> {
    /// What the walk makes of the part of a module that is called `name`.
    pub fn part<M: Projections<B>>(&mut self, name: impl ToString, module: M) -> M {
        self.path.push(name.to_string());
        let module = module.map_projections(self);
        self.path.pop();
        module
    }
}

impl<B: NnBackend> Projections<B> for Projection<B> {
    fn map_projections(self, walk: &mut Walk<'_, B>) -> Self {
        (walk.change)(&walk.path.join("."), self)
    }
}

impl<B: NnBackend, M: Projections<B>> Projections<B> for Vec<M> {
    fn map_projections(self, walk: &mut Walk<'_, B>) -> Self {
        self.into_iter().enumerate().map(|(number, module)| walk.part(number, module)).collect()
    }
}
