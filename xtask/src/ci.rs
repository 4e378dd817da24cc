//! `ci`: every check of the workspace, cheapest first, each timed, stopping at the first failure.

use std::io::{self, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::workspace::{self, Outcome, Result, WITH_DEV, cargo, cargo_workspace};
use crate::{conformance, cross, golden, layers, tidy};

/// Arguments of `ci`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run this stage alone
    #[arg(long, value_enum, value_name = "NAME")]
    stage: Option<Stage>,
    /// Print what each stage runs, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// Devices of which conformance may skip none; wgpu needs a Vulkan driver
    #[arg(long, value_name = "LIST", default_value = ALWAYS)]
    require: String,
}

/// The devices that need nothing but a CPU.
const ALWAYS: &str = "flex,ndarray";

impl Args {
    /// One stage, run in earnest.
    pub(crate) fn only(stage: Stage) -> Self {
        Self { stage: Some(stage), dry_run: false, require: ALWAYS.to_owned() }
    }
}

/// The stages, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    /// Formatting
    Fmt,
    /// House rules
    Tidy,
    /// Golden files as the manifest says
    Golden,
    /// Directions of dependencies
    Layers,
    /// Lints, every target and backend
    Clippy,
    /// Compiles for another kind of CPU
    Cross,
    /// Unit, golden, end-to-end and documentation tests
    Test,
    /// Documentation without a broken link
    Docs,
    /// Every device against the references
    Conformance,
}

/// What a stage does: a command of its own, or another verb of this program.
enum Work {
    Command(Command),
    Verb(String, Box<dyn Fn() -> Result<Outcome>>),
}

impl Stage {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    fn work(self, require: &str) -> Work {
        let verb = |name: &str, run: fn() -> Result| {
            Work::Verb(name.to_owned(), Box::new(move || run().map(|()| Outcome::Passed)))
        };
        match self {
            Self::Fmt => Work::Command(cargo(["fmt", "--all", "--check"])),
            Self::Tidy => verb("tidy", tidy::run),
            Self::Golden => verb("golden check", golden::check),
            Self::Layers => verb("layers", layers::run),
            Self::Clippy => {
                let mut command = cargo_workspace("clippy");
                command.args(["--all-targets", "--", "-D", "warnings"]);
                Work::Command(command)
            }
            Self::Cross => Work::Verb("cross".to_owned(), Box::new(cross::run)),
            Self::Test => Work::Command(cargo_workspace("test")),
            Self::Docs => {
                let mut command = cargo_workspace("doc");
                // Libraries alone: the binary `paligemma` would write over the library's pages.
                command.args(["--no-deps", "--lib", WITH_DEV]).env("RUSTDOCFLAGS", "-D warnings");
                Work::Command(command)
            }
            Self::Conformance => {
                let args = conformance::Args::required(require);
                let shown = args.shown();
                let run = move || conformance::run(&args).map(|()| Outcome::Passed);
                Work::Verb(shown, Box::new(run))
            }
        }
    }

    fn shown(self, require: &str) -> String {
        match self.work(require) {
            Work::Command(command) => workspace::shown(&command),
            Work::Verb(verb, _) => format!("cargo xtask {verb}"),
        }
    }

    fn run(self, require: &str) -> Result<Outcome> {
        match self.work(require) {
            Work::Command(mut command) => workspace::run(&mut command).map(|()| Outcome::Passed),
            Work::Verb(_, verb) => verb(),
        }
    }
}

/// A stage that was run.
struct Ran {
    outcome: Result<Outcome>,
    time: Duration,
}

impl Ran {
    fn word(&self) -> &'static str {
        match self.outcome {
            Ok(Outcome::Passed) => "passed",
            Ok(Outcome::Skipped(_)) => "skipped",
            Err(_) => "FAILED",
        }
    }

    /// Why it was skipped; nothing if it was not. An error is told by `main`.
    fn reason(&self) -> &str {
        match &self.outcome {
            Ok(Outcome::Skipped(reason)) => reason,
            _ => "",
        }
    }
}

/// Runs, or shows, the stages asked for.
///
/// # Errors
/// The first stage that fails, in its own words.
pub(crate) fn run(args: &Args) -> Result {
    let one = args.stage.map(|stage| [stage]);
    let stages = one.as_ref().map_or(Stage::value_variants(), |one| one);
    if args.dry_run {
        for stage in stages {
            println!("{:<12} {}", stage.name(), stage.shown(&args.require));
        }
        return Ok(());
    }
    execute(stages, &args.require, &mut io::stdout(), |stage| stage.run(&args.require))
}

/// Runs `stage` for each of `stages` until one fails, and reports on `out`.
fn execute(
    stages: &[Stage],
    require: &str,
    out: &mut impl Write,
    run: impl Fn(Stage) -> Result<Outcome>,
) -> Result {
    let mut all: Vec<Ran> = Vec::new();
    for &stage in stages {
        say(out, &format!("ci: {} runs {}", stage.name(), stage.shown(require)));
        let start = Instant::now();
        let outcome = run(stage);
        let ran = Ran { outcome, time: start.elapsed() };
        let (word, time, reason) = (ran.word(), seconds(ran.time), ran.reason());
        say(out, format!("ci: {} {word} in {time}  {reason}", stage.name()).trim_end());
        let failed = ran.outcome.is_err();
        all.push(ran);
        if failed {
            break;
        }
    }
    say(out, &summary(stages, &all));
    all.into_iter().try_for_each(|ran| ran.outcome.map(drop))
}

/// The closing table: a line for each stage, then one for all of them. `all` has one entry for
/// each stage that ran.
fn summary(stages: &[Stage], all: &[Ran]) -> String {
    let mut lines = vec!["ci: summary".to_owned()];
    for (index, stage) in stages.iter().enumerate() {
        let (word, time, reason) = match all.get(index) {
            Some(ran) => (ran.word(), seconds(ran.time), ran.reason()),
            None => ("not run", String::new(), ""),
        };
        let line = format!("  {:<12} {word:<8} {time:>9}  {reason}", stage.name());
        lines.push(line.trim_end().to_owned());
    }
    let word = if all.iter().any(|ran| ran.outcome.is_err()) { "FAILED" } else { "passed" };
    let time: Duration = all.iter().map(|ran| ran.time).sum();
    lines.push(format!("  {:<12} {word:<8} {:>9}", "all", seconds(time)));
    lines.join("\n")
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Writes a line at once, so that it stands in order among the output of the commands.
fn say(out: &mut impl Write, line: &str) {
    // A closed pipe must not hide the stage's own outcome.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_run_in_order_and_stop_at_the_first_failure() {
        let ran = std::cell::RefCell::new(Vec::new());
        let mut out = Vec::new();
        let outcome = execute(Stage::value_variants(), ALWAYS, &mut out, |stage| {
            ran.borrow_mut().push(stage);
            if stage == Stage::Layers {
                return Err("an edge too many".to_owned());
            }
            Ok(Outcome::Passed)
        });
        assert_eq!(outcome, Err("an edge too many".to_owned()));
        assert_eq!(*ran.borrow(), [Stage::Fmt, Stage::Tidy, Stage::Golden, Stage::Layers]);
        let text = String::from_utf8(out).unwrap();
        let (stages, closing) = text.split_once("ci: summary\n").unwrap();
        assert!(stages.contains("ci: tidy passed in ") && stages.contains("ci: layers FAILED in "));
        let closing: Vec<Vec<&str>> =
            closing.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
        assert_eq!(closing[2..5], [["golden", "passed"], ["layers", "FAILED"], ["clippy", "not"]]);
        assert_eq!(closing.last().unwrap(), &["all", "FAILED"]);
    }

    #[test]
    fn all_stages_passing_is_said_once_for_each_and_once_for_all() {
        let mut out = Vec::new();
        execute(Stage::value_variants(), ALWAYS, &mut out, |_| Ok(Outcome::Passed)).unwrap();
        let text = String::from_utf8(out).unwrap();
        let stages = Stage::value_variants().len();
        assert_eq!(text.matches(" passed in ").count(), stages);
        assert_eq!(text.matches(" passed  ").count(), stages + 1);
        assert!(!text.contains("FAILED") && !text.contains("not run"));
    }

    #[test]
    fn a_stage_that_is_skipped_is_said_to_be_and_why() {
        let mut out = Vec::new();
        let outcome = execute(Stage::value_variants(), ALWAYS, &mut out, |stage| {
            let skipped = stage == Stage::Cross;
            Ok(if skipped { Outcome::Skipped("no library".to_owned()) } else { Outcome::Passed })
        });
        assert_eq!(outcome, Ok(()));
        let text = String::from_utf8(out).unwrap();
        let said: Vec<&str> = text.lines().filter(|line| line.ends_with("  no library")).collect();
        let [at_once, closing] = said[..] else { panic!("{text}") };
        assert!(at_once.starts_with("ci: cross skipped in "), "{at_once}");
        assert!(closing.starts_with("  cross        skipped "), "{closing}");
        assert!(!text.contains("cross passed"), "{text}");
    }

    #[test]
    fn stages_that_compile_share_profile_members_and_features() {
        let shared = format!("--release --workspace --features {}", workspace::FEATURES);
        for stage in [Stage::Clippy, Stage::Test, Stage::Docs] {
            assert!(stage.shown(ALWAYS).contains(&shared), "{}", stage.shown(ALWAYS));
        }
        assert!(Stage::Clippy.shown(ALWAYS).ends_with("--all-targets -- -D warnings"));
        assert!(Stage::Docs.shown(ALWAYS).starts_with("RUSTDOCFLAGS='-D warnings' cargo doc "));
    }
}
