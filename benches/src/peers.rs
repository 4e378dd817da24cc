//! `bench-peers`: this project, transformers on PyTorch and candle on one checkpoint, in turns.
//!
//! Each measurement is a process of its own, which prints one line of JSON.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use paligemma_benches::subject::{self, TEXT};
use paligemma_checkpoint::PaliGemmaConfig;

use crate::Result;
use crate::machine;
use crate::measure::Measured;
use crate::memory::Memory;
use crate::process::{self, output, python, root, words};
use crate::table::{self, Row, Taken};

/// Arguments of `bench-peers`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The checkpoint, as `random-checkpoint` makes it
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The page whose table is written anew
    #[arg(long, value_name = "FILE", default_value = "docs/benchmarks.md")]
    out: PathBuf,
    /// Measurements of each, of which the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Threads of each process
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    threads: u32,
    /// Tokens that decoding is timed over
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    tokens: u32,
    /// Measure these alone (paligemma, converted, transformers, candle, or one with its dtype:
    /// converted-int8) and print the table instead of writing it
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    only: Vec<String>,
    /// Count measurements alone before and after which memory reads that many GB per second, for
    /// machines that share it with others; what it reads is in the table
    #[arg(long, value_name = "RATE", value_parser = clap::value_parser!(u32).range(1..))]
    memory: Option<u32>,
}

/// One that is measured.
struct Contestant {
    name: &'static str,
    dtype: &'static str,
    /// The process, or why there is none.
    program: std::result::Result<(PathBuf, Vec<OsString>), String>,
}

/// Measurements of one in a round before the last counts, however fast memory was.
const TRIES: u32 = 8;

/// Formats of this project's weights, the narrowest last.
const FORMATS: [&str; 4] = ["f32", "bf16", "int8", "int4"];

/// Measures all in turns and writes the table.
///
/// # Errors
/// If the checkpoint cannot be read or the page not written. What cannot be measured says so in
/// its row.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let config = PaliGemmaConfig::open(&arguments.model)?;
    let scratch = root().join("target/peers");
    fs::create_dir_all(&scratch)?;
    let pixels = scratch.join("pixels.f32");
    let values = subject::pixels(config.vision.image_size);
    fs::write(&pixels, values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>())?;

    // Before anything is built, whose load would be told as the machine's.
    let machine = machine::describe();
    let contestants = contestants(arguments, &scratch, &pixels)?;
    let mut rows: Vec<Row> = contestants.iter().map(|c| Row::new(c.name, c.dtype)).collect();
    let memory = Memory::new(arguments.threads);
    // In turns, so that a slow minute of the machine falls on all alike; the first round, which
    // also brings every file into the page cache, does not count.
    for round in 0..=arguments.runs {
        let least = arguments.memory.filter(|_| round > 0).map_or(0.0, f64::from);
        for (contestant, row) in contestants.iter().zip(&mut rows) {
            if row.failure.is_some() {
                continue;
            }
            eprintln!("round {round} of {}: {} {}", arguments.runs, row.name, row.dtype);
            match contestant.measure(arguments.threads, &memory, least) {
                Ok(taken) if round > 0 => row.taken.push(taken),
                Ok(_) => {}
                Err(failure) => row.failure = Some(failure),
            }
        }
    }
    let table = table::render(&rows, &machine, &described(arguments));
    if arguments.only.is_empty() {
        table::insert(&root().join(&arguments.out), &table::MARKS, &table)
    } else {
        println!("{table}");
        Ok(())
    }
}

/// The command as one would type it, without the places of one machine.
fn described(arguments: &Arguments) -> String {
    let Arguments { model, runs, threads, tokens, only, memory, .. } = arguments;
    let model = model.file_name().unwrap_or_default().to_string_lossy();
    let mut line = format!(
        "cargo xtask bench-peers --model {model} --runs {runs} --threads {threads} --tokens {tokens}"
    );
    if !only.is_empty() {
        line.extend([" --only ", &only.join(",")]);
    }
    if let Some(least) = memory {
        let _ = write!(line, " --memory {least}");
    }
    line
}

impl Contestant {
    /// Measures, again while memory reads less than `least` GB per second before or after.
    fn measure(
        &self,
        threads: u32,
        memory: &Memory,
        least: f64,
    ) -> std::result::Result<Taken, String> {
        let mut taken = self.once(threads, memory, least)?;
        for _ in 1..TRIES {
            if taken.memory >= least {
                break;
            }
            taken = self.once(threads, memory, least)?;
        }
        Ok(taken)
    }

    fn once(
        &self,
        threads: u32,
        memory: &Memory,
        least: f64,
    ) -> std::result::Result<Taken, String> {
        let (program, words) = self.program.as_ref().map_err(Clone::clone)?;
        let before = memory.wait(least);
        let measured: Measured = process::line(program, words, threads)?;
        let after = memory.rate();
        eprintln!("memory before and after: {before:.1} and {after:.1} GB/s");
        Ok(Taken { measured, memory: before.min(after) })
    }
}

/// All that are asked for, ready to run.
fn contestants(arguments: &Arguments, scratch: &Path, pixels: &Path) -> Result<Vec<Contestant>> {
    let wanted = |name: &str, dtype: &str| {
        let full = format!("{name}-{dtype}");
        arguments.only.is_empty() || arguments.only.iter().any(|o| *o == name || *o == full)
    };
    let model = arguments.model.canonicalize()?;
    let (tokens, threads) = (arguments.tokens.to_string(), arguments.threads.to_string());
    let own = std::env::current_exe()?;
    let measure = |name, dtype: &'static str, folder: &Path| {
        let line = words!["measure", "--dtype", dtype, "--model", folder, "--tokens", &tokens];
        Contestant { name, dtype, program: Ok((own.clone(), line)) }
    };
    let mut all = Vec::new();
    for dtype in FORMATS {
        if wanted("paligemma", dtype) {
            all.push(measure("paligemma", dtype, &model));
        }
        let converted = with_ending(&model, dtype);
        if wanted("converted", dtype) && converted.is_dir() {
            all.push(measure("paligemma, converted", dtype, &converted));
        }
    }
    let ids = TEXT.map(|id| id.to_string()).join(",");
    let line = words!["--model", &model, "--tokens", &tokens, "--pixels", pixels, "--ids", ids];
    if wanted("transformers", "bf16") {
        let script = root().join("benches/peers/transformers_peer.py");
        let line = [words![script], line.clone(), words!["--threads", threads]].concat();
        let program = python(scratch).map(|python| (python, line));
        all.push(Contestant { name: "transformers", dtype: "bf16", program });
    }
    if wanted("candle", "f32") {
        let program = candle(scratch).map(|program| (program, line));
        all.push(Contestant { name: "candle", dtype: "f32", program });
    }
    if all.is_empty() {
        let asked = arguments.only.join(", ");
        return Err(format!("nobody is called {asked}, or nothing is converted").into());
    }
    Ok(all)
}

/// Where `paligemma convert` is to put the checkpoint for its packed form to be measured as well.
fn with_ending(model: &Path, dtype: &str) -> PathBuf {
    let mut name = model.as_os_str().to_owned();
    name.push("-");
    name.push(dtype);
    name.into()
}

/// The program that measures candle, built in a workspace of its own.
fn candle(scratch: &Path) -> std::result::Result<PathBuf, String> {
    let target = scratch.join("candle");
    let manifest = root().join("benches/candle-peer/Cargo.toml");
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--locked", "--quiet", "--manifest-path"]).arg(manifest);
    output(build.arg("--target-dir").arg(&target))?;
    Ok(target.join("release").join(format!("candle-peer{}", std::env::consts::EXE_SUFFIX)))
}
