//! `bench-training`: steps of training the embedded model, here and with transformers on PyTorch,
//! in turns.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::Result;
use crate::machine;
use crate::process::{line, python, root, words};
use crate::steps::{self, RATE, Stepped};
use crate::table::{self, Marks};

const MARKS: Marks = Marks {
    begin: "<!-- training: written by `cargo xtask bench-training` -->",
    end: "<!-- end of training -->",
};

/// Arguments of `bench-training`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The page whose table is written anew
    #[arg(long, value_name = "FILE", default_value = "docs/benchmarks.md")]
    out: PathBuf,
    /// Measurements of each, of which the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Threads of each process
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    threads: u32,
    /// Steps that are timed
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Print the table instead of writing it
    #[arg(long)]
    print: bool,
}

/// One that is measured, in one setting.
struct Contestant {
    name: &'static str,
    frozen: bool,
    program: PathBuf,
    words: Vec<OsString>,
    measured: Vec<Stepped>,
}

/// Measures both in turns and writes the table.
///
/// # Errors
/// If PyTorch cannot be installed, a process fails, or the page cannot be written.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let scratch = root().join("target/peers");
    fs::create_dir_all(&scratch)?;
    let machine = machine::describe();
    let mut contestants = contestants(arguments, &scratch)?;
    // The first round brings every file into the page cache and does not count.
    for round in 0..=arguments.runs {
        for contestant in &mut contestants {
            eprintln!("round {round} of {}: {}", arguments.runs, contestant.name);
            let stepped = line(&contestant.program, &contestant.words, arguments.threads)?;
            if round > 0 {
                contestant.measured.push(stepped);
            }
        }
    }
    let Arguments { runs, threads, steps, .. } = arguments;
    let command =
        format!("cargo xtask bench-training --runs {runs} --threads {threads} --steps {steps}");
    let table = render(&contestants, &machine, &command);
    if arguments.print {
        println!("{table}");
        return Ok(());
    }
    table::insert(&root().join(&arguments.out), &MARKS, &table)
}

fn contestants(arguments: &Arguments, scratch: &Path) -> Result<Vec<Contestant>> {
    let [pixels, rows] = steps::write_batch(scratch)?;
    let steps = arguments.steps.to_string();
    let own = words!["train-steps", "--steps", &steps];
    let peer = words![
        root().join("benches/peers/transformers_training.py"),
        "--model",
        root().join("crates/paligemma/pocket"),
        "--pixels",
        pixels,
        "--rows",
        rows,
        "--threads",
        arguments.threads.to_string(),
        "--rate",
        RATE.to_string(),
        "--steps",
        &steps
    ];
    let programs =
        [("paligemma", std::env::current_exe()?, own), ("transformers", python(scratch)?, peer)];
    let settings = [true, false];
    let all = settings.into_iter().flat_map(|frozen| {
        programs.iter().map(move |(name, program, words)| {
            let extra = if frozen { words!["--frozen"] } else { Vec::new() };
            let words = [words.as_slice(), &extra].concat();
            Contestant { name, frozen, program: program.clone(), words, measured: Vec::new() }
        })
    });
    Ok(all.collect())
}

impl Contestant {
    fn median(&self, value: impl Fn(&Stepped) -> f64) -> f64 {
        let mut values: Vec<f64> = self.measured.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
    }
}

fn render(contestants: &[Contestant], machine: &str, command: &str) -> String {
    let mut text = String::from(
        "| | tower | step, ms | prompts/s | peak, GiB | first loss | last loss |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for contestant in contestants {
        let Contestant { name, frozen, .. } = contestant;
        let peer = contestants.iter().find(|c| c.frozen == *frozen && c.name == "transformers");
        let rate = |c: &Contestant| c.median(|stepped| stepped.prompts_per_s);
        let ratio = rate(contestant) / peer.map_or(f64::NAN, rate);
        let memory = contestant.median(|stepped| stepped.peak_rss_bytes as f64) / table::GIB;
        let _ = writeln!(
            text,
            "| {name} | {} | {:.0} | {:.0} ({ratio:.2}x) | {memory:.2} | {:.4} | {:.4} |",
            if *frozen { "frozen" } else { "trained" },
            contestant.median(|stepped| stepped.step_s) * 1e3,
            rate(contestant),
            contestant.median(|stepped| stepped.first_loss),
            contestant.median(|stepped| stepped.last_loss),
        );
    }
    let runs = contestants.first().map_or(0, |c| c.measured.len());
    let versions: Vec<&str> = contestants.iter().take(2).map(Contestant::version).collect();
    let _ = writeln!(
        text,
        "\nMedians of {runs} runs in turns; in brackets, times PyTorch. Versions: {}.\n\n{machine}\n\n```sh\n{command}\n```",
        versions.join("; ")
    );
    text
}

impl Contestant {
    fn version(&self) -> &str {
        self.measured.last().map_or("", |stepped| &stepped.version)
    }
}
