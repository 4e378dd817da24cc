//! Trains and evaluates the embedded model: `cargo xtask pocket`.

mod train;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use paligemma::Dtype;
use paligemma_pocket::{FIRST_HELD_OUT_SEED, Scene, listing};

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
        /// An exported checkpoint that a new run begins its last stage with, instead of nothing.
        #[arg(long, value_name = "FOLDER")]
        from: Option<PathBuf>,
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
    /// Writes the model as it is before any training, as a published checkpoint.
    Begin {
        /// Where the checkpoint goes.
        #[arg(long)]
        out: PathBuf,
    },
    /// Writes examples of a task that the model is not trained on (docs/transfer.md).
    Examples {
        /// How many.
        #[arg(long, default_value_t = 2000)]
        count: usize,
        /// Those that measure instead of those to learn from.
        #[arg(long)]
        held_out: bool,
        /// The folder of pictures and rows.
        #[arg(long)]
        out: PathBuf,
    },
    /// Draws a scene for people to look at.
    Picture {
        /// The seed of the scene.
        #[arg(long, required_unless_present = "held_out")]
        seed: Option<u64>,
        /// Which of the scenes that were never trained on, from zero, instead of a seed.
        #[arg(long, value_name = "N", conflicts_with = "seed")]
        held_out: Option<u64>,
        /// How many things it shows.
        #[arg(long, default_value_t = 2)]
        things: usize,
        /// How many times larger than the model sees it.
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16))]
        scale: u32,
        /// Where the picture goes.
        #[arg(long)]
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
        /// What to hold the model in: f32, f16, bf16, int8 or int4.
        #[arg(long, default_value_t = Dtype::F32)]
        dtype: Dtype,
    },
}

fn main() -> ExitCode {
    paligemma::keep_freed_memory();
    let result = match Arguments::parse().command {
        Command::Train { out, from, minutes } => train::run(&out, from.as_deref(), minutes * 60.0),
        Command::Export { run, out } => train::export(&run, &out),
        Command::Begin { out } => train::begin(&out),
        Command::Examples { count, held_out, out } => listing::write(&out, count, held_out)
            .map_err(|error| format!("cannot write to {}: {error}", out.display()).into()),
        Command::Picture { seed, held_out, things, scale, out } => {
            let held_out = held_out.map(|place| FIRST_HELD_OUT_SEED.wrapping_add(place));
            // One of them is given.
            let seed = seed.or(held_out).unwrap_or(FIRST_HELD_OUT_SEED);
            let picture = Scene::generate(seed, things..=things).render_at(scale);
            let saved = picture.save(&out);
            saved.map_err(|error| format!("cannot write {}: {error}", out.display()).into())
        }
        Command::Evaluate { model, scenes, dtype } => train::evaluate(&model, scenes, dtype),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
