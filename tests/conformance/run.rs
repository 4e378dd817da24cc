//! Runs every case on every device in every dtype; whatever happens becomes an outcome.

use std::panic::{AssertUnwindSafe, catch_unwind};

use paligemma::{DeviceSpec, DeviceWork, Dtype, Storage};
use paligemma_checkpoint::LoadError;
use paligemma_nn::NnBackend;

use super::{Bench, Case, Gap, Measured};
use crate::reference::Tiny;

/// What became of a case on a device.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was measured, within its tolerances or not.
    Measured(Vec<Measured>),
    /// It does not apply, for a reason.
    Skipped(String),
    /// It could not be measured.
    Failed(String),
    /// It failed as expected.
    ExpectedFailure(&'static str),
}

impl Outcome {
    /// Whether nothing is outside its tolerance; a case that was skipped does not pass.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Measured(all) if all.iter().all(Measured::passes))
    }

    /// Whether the case was run and is wrong.
    pub fn fails(&self) -> bool {
        matches!(self, Self::Failed(_)) || matches!(self, Self::Measured(_)) && !self.passes()
    }

    /// The comparison that comes closest to its tolerance, or is furthest beyond.
    pub fn worst(&self) -> Option<&Measured> {
        let Self::Measured(all) = self else { return None };
        all.iter().max_by(|a, b| a.severity().total_cmp(&b.severity()))
    }

    /// The outcome in view of the failures that are expected.
    pub fn expected(self, gap: Option<&Gap>) -> Self {
        match gap {
            Some(gap) if self.fails() => Self::ExpectedFailure(gap.reason),
            Some(gap) if self.passes() => {
                Self::Failed(format!("passes, but is listed to fail: {}", gap.reason))
            }
            _ => self,
        }
    }
}

/// A column of the table: a device in a dtype, and an outcome for each case.
#[derive(Clone, Debug)]
pub struct Column {
    /// The device.
    pub device: DeviceSpec,
    /// What the model is held in.
    pub dtype: Dtype,
    /// Outcomes in the order of the cases.
    pub outcomes: Vec<Outcome>,
}

/// Measures `cases` of a golden model on `devices` in `dtypes`. A device that is not there is skipped, or fails if it
/// is among the `required`; `gaps` are the failures to expect.
pub fn columns(
    golden: Tiny,
    cases: &[Case],
    devices: &[DeviceSpec],
    dtypes: &[Dtype],
    required: &[DeviceSpec],
    gaps: &[Gap],
) -> Vec<Column> {
    let each = devices.iter().flat_map(|&device| dtypes.iter().map(move |&dtype| (device, dtype)));
    let column = |(device, dtype): (DeviceSpec, Dtype)| {
        let Some(storage) = dtype.on(device) else {
            let outcome = Outcome::Skipped(format!("{device} has no {dtype}"));
            return Column { device, dtype, outcomes: vec![outcome; cases.len()] };
        };
        let outcomes = device.run(Run { golden, cases, dtype, storage }).unwrap_or_else(|error| {
            let reason = error.to_string();
            let outcome = if required.contains(&device) {
                Outcome::Failed(format!("is required, but {reason}"))
            } else {
                Outcome::Skipped(reason)
            };
            vec![outcome; cases.len()]
        });
        let outcomes = outcomes.into_iter().zip(cases).map(|(outcome, case)| {
            let name = case.to_string();
            let listed = |gap: &&Gap| {
                (family(device), dtype, &*name) == (gap.device.into(), gap.dtype, gap.case)
            };
            outcome.expected(gaps.iter().find(listed))
        });
        Column { device, dtype, outcomes: outcomes.collect() }
    };
    each.map(column).collect()
}

/// A device's name without its number.
fn family(device: DeviceSpec) -> String {
    let name = device.to_string();
    name.split(':').next().unwrap_or_default().to_owned()
}

struct Run<'a> {
    golden: Tiny,
    cases: &'a [Case],
    dtype: Dtype,
    storage: Storage,
}

impl DeviceWork for Run<'_> {
    type Output = Vec<Outcome>;

    fn run<B: NnBackend>(self, device: B::Device) -> Vec<Outcome> {
        let bench = match guarded(|| Bench::<B>::open(self.golden, device, self.storage)) {
            Ok(Ok(bench)) => bench,
            Ok(Err(error @ LoadError::Dtype { .. })) if self.dtype != Dtype::F32 => {
                return vec![Outcome::Skipped(error.to_string()); self.cases.len()];
            }
            Ok(Err(error)) => return vec![Outcome::Failed(error.to_string()); self.cases.len()],
            Err(panic) => return vec![Outcome::Failed(panic); self.cases.len()],
        };
        let outcome = |case: &Case| match case.skipped_in(self.dtype) {
            Some(reason) => Outcome::Skipped(reason.to_owned()),
            None => {
                guarded(|| case.measure(&bench)).map_or_else(Outcome::Failed, Outcome::Measured)
            }
        };
        self.cases.iter().map(outcome).collect()
    }
}

/// A GPU's runtime answers many mistakes with a panic: it is one case's failure, not the run's.
///
/// # Errors
/// The panic's message.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        format!("panicked: {}", text.as_deref().unwrap_or("without a message").replace('\n', " "))
    })
}
