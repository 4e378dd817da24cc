//! Makes random checkpoints and measures: `cargo xtask random-checkpoint`, `bench-peers` and
//! `bench-training`.

mod machine;
mod measure;
mod memory;
mod peers;
mod process;
mod steps;
mod table;
mod training;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use paligemma_benches::random::{self, Format};
use paligemma_benches::variant::Variant;

/// What a verb gives back: nothing, or the one line that `main` prints.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Random checkpoints and timings.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a checkpoint of random weights in the published format
    RandomCheckpoint {
        /// The sizes of the model
        #[arg(long, value_enum)]
        variant: Variant,
        /// The seed: the same gives the same file
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// The type of the weights
        #[arg(long, value_enum, default_value_t = Format::Bf16)]
        dtype: Format,
        /// The folder to make
        #[arg(long)]
        out: PathBuf,
    },
    /// Measure this project and its peers in turns and write the table of docs/benchmarks.md
    BenchPeers(peers::Arguments),
    /// Measure steps of training, here and with transformers in turns, and write the table of
    /// docs/benchmarks.md
    BenchTraining(training::Arguments),
    /// Train the embedded model for some steps in this process and print one line of JSON
    TrainSteps {
        /// Steps that are timed
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        steps: u32,
        /// The tower's weights stay
        #[arg(long)]
        frozen: bool,
    },
    /// Measure this project in this process and print one line of JSON
    Measure(measure::Arguments),
}

fn main() -> ExitCode {
    paligemma::keep_freed_memory();
    let outcome = match Arguments::parse().command {
        Command::RandomCheckpoint { variant, seed, dtype, out } => {
            random_checkpoint(variant, (seed, dtype), &out)
        }
        Command::BenchPeers(arguments) => peers::run(&arguments),
        Command::BenchTraining(arguments) => training::run(&arguments),
        Command::TrainSteps { steps, frozen } => steps::run(steps, frozen),
        Command::Measure(arguments) => measure::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn random_checkpoint(variant: Variant, law: (u64, Format), out: &Path) -> Result {
    let config = variant.config()?;
    let style = ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}, {eta} left")?;
    let bar = ProgressBar::new(random::weight_bytes(&config, law.1)).with_style(style);
    let parameters = random::write(&config, law, out, &|bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    println!("{}: {parameters} parameters", out.display());
    Ok(())
}
