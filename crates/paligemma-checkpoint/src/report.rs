//! `LoadReport`: what was loaded, and what was left in the files with a reason.

use std::collections::BTreeMap;
use std::fmt;

use crate::source::SourceTensor;

/// What a module takes from a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// How the files spell tensor names.
    pub layout: &'static str,
    /// How many tensors have each type, as the files name it.
    pub dtypes: BTreeMap<String, usize>,
    /// How many tensors the module has.
    pub tensors: usize,
    /// How many numbers they hold together.
    pub parameters: usize,
    /// How many bytes of the files they are.
    pub bytes: usize,
    /// The tensors that are not used, each with its reason.
    pub ignored: Vec<Ignored>,
}

/// A tensor of the files that the module rightly does without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The name in the file.
    pub file_name: String,
    /// Why it is not needed.
    pub reason: &'static str,
}

impl LoadReport {
    pub(crate) fn count(&mut self, tensor: &SourceTensor) {
        *self.dtypes.entry(tensor.elements.to_string()).or_default() += 1;
        self.tensors += 1;
        self.parameters += tensor.shape.iter().product::<usize>();
        self.bytes += tensor.data.len();
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.bytes as f64 / 1e6;
        let parameters = self.parameters;
        writeln!(f, "{} tensors, {parameters} parameters, {megabytes:.1} MB", self.tensors)?;
        let dtypes = self.dtypes.iter().map(|(dtype, count)| format!("{dtype} x {count}"));
        writeln!(f, "types: {}", dtypes.collect::<Vec<_>>().join(", "))?;
        write!(f, "names: {}", self.layout)?;
        for Ignored { file_name, reason } in &self.ignored {
            write!(f, "\nnot used: {file_name} ({reason})")?;
        }
        Ok(())
    }
}
