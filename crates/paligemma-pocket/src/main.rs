//! Trains and evaluates the embedded model: `cargo xtask pocket`.

mod train;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Trains and evaluates the embedded model.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Trains from nothing, or goes on where an interrupted run stopped.
    Train {
        /// The folder of the run.
        #[arg(long, default_value = "target/pocket")]
        out: PathBuf,
        /// Minutes after which the rate has fallen to nothing and the run ends.
        #[arg(long, default_value_t = 90.0)]
        minutes: f64,
    },
    /// Writes the latest checkpoint of a run as a published checkpoint in half precision.
    Export {
        /// The folder of the run.
        #[arg(long, default_value = "target/pocket")]
        run: PathBuf,
        /// Where the checkpoint goes.
        #[arg(long, default_value = "crates/paligemma/pocket")]
        out: PathBuf,
    },
    /// Scores a checkpoint on scenes never trained on.
    Evaluate {
        /// The checkpoint's folder.
        #[arg(long, default_value = "crates/paligemma/pocket")]
        model: PathBuf,
        /// Scenes per line of the table.
        #[arg(long, default_value_t = 500)]
        scenes: usize,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Train { out, minutes } => train::run(&out, minutes * 60.0),
        Command::Export { run, out } => train::export(&run, &out),
        Command::Evaluate { model, scenes } => train::evaluate(&model, scenes),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
