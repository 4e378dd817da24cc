//! What `import --json` prints.

use std::collections::BTreeMap;

use paligemma_data::Skip;
use serde::Serialize;

/// How much was imported, and how much of what was to be skipped there was.
#[derive(Serialize)]
pub(crate) struct Import {
    examples: usize,
    left_out: BTreeMap<&'static str, usize>,
}

impl Import {
    pub(crate) fn new(examples: usize, left_out: &BTreeMap<Skip, usize>) -> Self {
        let name = |skip: &Skip| match skip {
            Skip::Crowds => "crowds",
            Skip::Degenerate => "degenerate",
            Skip::Empty => "empty",
        };
        let left_out = left_out.iter().map(|(skip, count)| (name(skip), *count)).collect();
        Self { examples, left_out }
    }
}
