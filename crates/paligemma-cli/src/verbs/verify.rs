//! `verify`: whether a model will answer as its authors meant, on one screen.

use clap::Args;
use paligemma::{Check, Outcome, Verdict};
use paligemma_checkpoint::Progress;

use crate::args::{JsonArgs, ModelArgs};
use crate::bar::Bar;
use crate::error::Error;
use crate::{output, wire};

/// A model to look at.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl Verify {
    /// Makes every check; that one failed is the error, after all are printed.
    pub(crate) fn run(self) -> Result<(), Error> {
        self.model.begin()?;
        let place = self.model.locate()?;
        let bar = Bar::new("weights");
        let show = |Progress { done, total, .. }: Progress<'_>| bar.show(done, total);
        let verdict = self.model.verify(&place, show);
        bar.clear();
        let model = place.to_string();
        if self.json.json {
            output::json(&wire::Verified::new(&model, &verdict))?;
        } else {
            print(&model, &verdict)?;
        }
        let (failed, checks) = (verdict.failed().count(), verdict.checks.len());
        if failed == 0 { Ok(()) } else { Err(Error::Unsound { model, failed, checks }) }
    }
}

fn print(model: &str, verdict: &Verdict) -> Result<(), Error> {
    let rows = verdict.checks.iter().map(|Check { name, outcome, found }| {
        let outcome = match outcome {
            Outcome::Passed => "passed",
            Outcome::Open => "open",
            Outcome::Failed => "FAILED",
        };
        [outcome, name, found].map(str::to_owned)
    });
    output::table(&rows.collect::<Vec<_>>())?;
    if let Some(fingerprint) = &verdict.fingerprint {
        output::text(&format!("the fingerprint of its weights is {fingerprint}\n"))?;
    }
    if verdict.is_sound() {
        output::text(&format!("{model} will answer as its authors meant\n"))?;
    }
    Ok(())
}
