//! `random-checkpoint`, `bench-peers` and `bench-training`: run the benches' program, passing every
//! further word on.

use std::process::Command;

use crate::workspace::{self, Result};

/// Arguments of each, none of which is read here, `--help` no more than others.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Words for the program; `--help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    args: Vec<String>,
}

/// Builds the program in release and runs its `verb`.
///
/// # Errors
/// The build fails, or the program says so.
pub(crate) fn run(verb: &str, args: &Args) -> Result {
    workspace::run(&mut command(verb, args))
}

fn command(verb: &str, args: &Args) -> Command {
    let mut command =
        workspace::cargo(["run", "--release", "--package", "paligemma-benches", "--", verb]);
    command.args(&args.args);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verb;
    use clap::Parser;

    #[test]
    fn the_verb_and_every_word_reach_the_program() {
        let words = ["--variant", "tiny", "--seed", "-1"];
        let line = ["xtask", "random-checkpoint"].iter().chain(&words);
        let Verb::RandomCheckpoint(args) = Verb::try_parse_from(line).unwrap() else {
            panic!("read as another verb");
        };
        let shown = workspace::shown(&command("random-checkpoint", &args));
        assert!(shown.ends_with("-- random-checkpoint --variant tiny --seed -1"), "{shown}");
    }
}
