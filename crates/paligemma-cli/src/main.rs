//! `paligemma`: PaliGemma in a shell.
//!
//! ```text
//! paligemma caption photo.jpg
//! paligemma ask photo.jpg "how many cats are there?"
//! paligemma ocr page.png
//! paligemma generate a.png b.png --prompt "answer en what changed?"
//! paligemma detect street.jpg "car ; person" --out boxes.png
//! paligemma score photo.jpg --prompt "answer en is it day?" --candidate yes --candidate no
//! paligemma convert --model DIR --dtype int8 --out SMALLER
//! paligemma info --model DIR
//! paligemma devices
//! ```
//!
//! [`lowargs`] is what was typed, [`plan`] what it means; every verb has a file, and [`wire`] is
//! what `--json` prints. Whatever cannot be done is one line on the standard error and status 1,
//! a command line that cannot be read is status 2.

mod answer;
mod bar;
mod convert;
mod detect;
mod devices;
mod draw;
mod error;
mod info;
mod lowargs;
mod model;
mod output;
mod plan;
mod score;
mod session;
mod wire;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use paligemma::Isa;

use crate::error::Error;
use crate::lowargs::LowArgs;
use crate::plan::Plan;

fn main() -> ExitCode {
    paligemma::keep_freed_memory();
    match Plan::try_from(LowArgs::parse().verb).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has read enough, as `head` does.
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            // Where the standard error is closed too, only the status is left to speak.
            writeln!(std::io::stderr(), "error: {}", error.line()).ok();
            ExitCode::FAILURE
        }
    }
}

fn run(plan: Plan) -> Result<(), Error> {
    Isa::asked().map_err(Error::Isa)?;
    match plan {
        Plan::Answer { query, options } => answer::run(query, options),
        Plan::Detect { query, options, out } => detect::run(query, options, out.as_ref()),
        Plan::Score { query, candidates } => score::run(query, &candidates),
        Plan::Convert { model, format, out } => convert::run(&model, format, &out),
        Plan::Info { model, json } => info::run(&model, json),
        Plan::Devices { json } => devices::run(json),
    }
}
