//! What `verify --json` prints.

use paligemma::{Check, Outcome, Verdict};
use serde::Serialize;

/// `verify`.
#[derive(Serialize)]
pub(crate) struct Verified<'a> {
    model: &'a str,
    /// Whether it will answer as its authors meant.
    sound: bool,
    checks: Vec<OneCheck<'a>>,
    fingerprint: Option<&'a str>,
}

#[derive(Serialize)]
struct OneCheck<'a> {
    name: &'static str,
    outcome: &'static str,
    found: &'a str,
}

impl<'a> Verified<'a> {
    pub(crate) fn new(model: &'a str, verdict: &'a Verdict) -> Self {
        let check = |Check { name, outcome, found }: &'a Check| {
            let outcome = match outcome {
                Outcome::Passed => "passed",
                Outcome::Open => "open",
                Outcome::Failed => "failed",
            };
            OneCheck { name, outcome, found }
        };
        Self {
            model,
            sound: verdict.is_sound(),
            checks: verdict.checks.iter().map(check).collect(),
            fingerprint: verdict.fingerprint.as_deref(),
        }
    }
}
