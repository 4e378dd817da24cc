//! `cross`: the crates without C code compile for another kind of CPU.

use std::path::Path;
use std::process::Command;

use crate::workspace::{self, Outcome, Result};

/// What the kernels' other half is for: NEON instead of AVX, and no tiles.
const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Crates that need no C compiler for that target, the CPU kernels among them.
const CRATES: [&str; 6] = [
    "paligemma-packed",
    "paligemma-nn",
    "paligemma-siglip",
    "paligemma-gemma",
    "paligemma-mask",
    "paligemma-checkpoint",
];

/// Checks the crates, or skips that where the target's standard library is not installed.
///
/// # Errors
/// One of them does not compile.
pub(crate) fn run() -> Result<Outcome> {
    let mut libraries = Command::new("rustc");
    libraries.args(["--print", "target-libdir", "--target", TARGET]);
    let folder = workspace::output(&mut libraries)?;
    if !Path::new(String::from_utf8_lossy(&folder).trim()).is_dir() {
        let reason = format!("there is no {TARGET}: `rustup target add {TARGET}`");
        return Ok(Outcome::Skipped(reason));
    }
    workspace::run(&mut command()).map(|()| Outcome::Passed)
}

fn command() -> Command {
    let mut command = workspace::cargo(["check", "--release", "--target", TARGET]);
    for name in CRATES {
        command.args(["--package", name]);
    }
    command.args(["--features", "paligemma-nn/flex"]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_kernels_are_among_what_is_checked() {
        let line = workspace::shown(&command());
        assert!(line.contains("--target aarch64-unknown-linux-gnu"), "{line}");
        assert!(line.contains("--package paligemma-packed"), "{line}");
        assert!(line.ends_with("--features paligemma-nn/flex"), "{line}");
    }
}
