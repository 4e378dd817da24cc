//! Processes that measure and print one line of JSON, and what it takes to start them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::de::DeserializeOwned;

use crate::measure::{STARTED, now};

/// A command line of texts and paths.
macro_rules! words {
    ($($word:expr),*) => { vec![$(OsString::from($word)),*] };
}
pub(crate) use words;

/// What a process prints in its last line, run with that many threads.
pub(crate) fn line<T: DeserializeOwned>(
    program: &Path,
    words: &[OsString],
    threads: u32,
) -> std::result::Result<T, String> {
    let mut command = Command::new(program);
    command.args(words);
    for variable in ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
        command.env(variable, threads.to_string());
    }
    command.env(STARTED, now().map_err(|error| error.to_string())?.to_string());
    let printed = output(&mut command)?;
    let line = printed.lines().last().unwrap_or_default();
    eprintln!("{line}");
    serde_json::from_str(line).map_err(|error| format!("its line of JSON: {error}"))
}

/// The interpreter of a virtual environment with the peer's packages, made at the first call.
pub(crate) fn python(scratch: &Path) -> std::result::Result<PathBuf, String> {
    let venv = scratch.join("venv");
    let python = venv.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    if !python.exists() {
        output(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    let packages = root().join("benches/peers/requirements.txt");
    eprintln!("installing {}", packages.display());
    // Complete as it is pinned, so nothing else is resolved or added.
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--no-deps", "--requirement"]).arg(packages);
    output(&mut install)?;
    Ok(python)
}

/// What a command printed, or the last line that it had to say.
pub(crate) fn output(command: &mut Command) -> std::result::Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } =
        command.output().map_err(|error| format!("cannot start {program}: {error}"))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    let last = last.trim().trim_start_matches("error: ");
    Err(if last.is_empty() { format!("ended with {status}") } else { last.to_owned() })
}

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR"));
    benches.parent().unwrap_or(benches)
}
