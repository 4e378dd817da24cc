//! `pocket`: runs the maker of the embedded model, passing every further word on.

use std::process::Command;

use crate::workspace::{self, Result};

/// Arguments of `pocket`, none of which is read here, `--help` no more than others.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Words for the maker; `--help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    args: Vec<String>,
}

/// Builds the maker in release and runs it.
///
/// # Errors
/// The build fails, or the maker says so.
pub(crate) fn run(args: &Args) -> Result {
    workspace::run(&mut command(args))
}

fn command(args: &Args) -> Command {
    let mut command = workspace::cargo(["run", "--release", "--package", "paligemma-pocket", "--"]);
    command.args(&args.args);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verb;
    use clap::Parser;

    #[test]
    fn every_word_reaches_the_maker_options_included() {
        for words in [&["--help"][..], &["train", "--steps", "20"], &["--seed", "-1"], &[]] {
            let line = ["xtask", "pocket"].iter().chain(words);
            let Verb::Pocket(args) = Verb::try_parse_from(line).unwrap() else {
                panic!("{words:?} is read as another verb");
            };
            assert_eq!(args.args, words);
            assert!(workspace::shown(&command(&args)).ends_with(&words.join(" ")));
        }
    }
}
