//! The workspace as every verb sees it: its root, its metadata, and the commands run in it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

/// What a verb gives back: nothing, or the one line that `main` prints.
pub(crate) type Result<T = ()> = std::result::Result<T, String>;

/// What became of a check that found nothing wrong.
#[derive(Debug)]
pub(crate) enum Outcome {
    Passed,
    /// It could not be made, for a reason.
    Skipped(String),
}

/// The backends beside flex, which is on by default, and training by several workers. Every command
/// over the whole workspace takes this very string: another one would build the backends a second
/// time, and that takes minutes.
pub(crate) const FEATURES: &str = "paligemma-cli/ndarray,paligemma-cli/wgpu,paligemma-cli/cuda,paligemma-cli/distributed,\
     paligemma-tests/ndarray,paligemma-tests/wgpu,paligemma-tests/cuda,\
     paligemma-train/distributed";

/// Makes `build` and `doc` count dev-dependencies in, as `test` and `clippy --all-targets` do.
/// Without them a few shared dependencies have other features, and the backends, which lie above,
/// would be compiled a second time.
pub(crate) const WITH_DEV: &str = "--examples";

/// The folder that holds the workspace's manifest. Cargo tells it to what it runs; checkouts that share
/// what they compiled would otherwise take each other's.
pub(crate) fn root() -> &'static Path {
    static XTASK: LazyLock<PathBuf> = LazyLock::new(|| {
        let told = std::env::var_os("CARGO_MANIFEST_DIR");
        told.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
    });
    XTASK.parent().unwrap_or(&XTASK)
}

/// `cargo ARGS`, to be run in the root.
pub(crate) fn cargo<I: IntoIterator<Item: AsRef<OsStr>>>(args: I) -> Command {
    let mut command = Command::new("cargo");
    command.args(args).current_dir(root());
    command
}

/// `cargo VERB` over the whole workspace, with every backend, in release.
pub(crate) fn cargo_workspace(verb: &str) -> Command {
    cargo([verb, "--release", "--workspace", "--features", FEATURES])
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        let value = value.unwrap_or_default().to_string_lossy();
        words.push(format!("{}={}", name.to_string_lossy(), quoted(&value)));
    }
    words.push(command.get_program().to_string_lossy().into_owned());
    words.extend(command.get_args().map(|word| quoted(&word.to_string_lossy())));
    words.join(" ")
}

/// A word in single quotes where a shell would split or expand it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Runs the command with this terminal as its own.
///
/// # Errors
/// The command cannot be started, or ends with another status than zero.
pub(crate) fn run(command: &mut Command) -> Result {
    let line = shown(command);
    let status = command.status().map_err(|cause| format!("cannot start `{line}`: {cause}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{line}` failed with {status}")) }
}

/// Runs the command and gives what it wrote on its standard output.
///
/// # Errors
/// As for [`run`], with what the command wrote on its standard error.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let line = shown(command);
    let output = command.output().map_err(|cause| format!("cannot start `{line}`: {cause}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{line}` failed with {}: {}", output.status, said.trim()))
}

/// `cargo metadata`, with further arguments.
///
/// # Errors
/// A manifest that cargo does not take, in cargo's own words.
pub(crate) fn metadata(args: &[&str]) -> Result<Value> {
    let mut command = cargo(["metadata", "--format-version", "1"]);
    let text = output(command.args(args))?;
    serde_json::from_slice(&text).map_err(|cause| format!("cargo metadata is not JSON: {cause}"))
}

/// The file that a build leaves for the binary `name` under `profile`.
///
/// # Errors
/// As for [`metadata`].
pub(crate) fn built(profile: &str, name: &str) -> Result<PathBuf> {
    let metadata = metadata(&["--no-deps"])?;
    let target = metadata["target_directory"].as_str().unwrap_or("target");
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    Ok(root().join(target).join(profile).join(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = cargo(["doc", "--no-deps", "a b", "it's", ""]);
        command.env("RUSTDOCFLAGS", "-D warnings");
        let typed = r"RUSTDOCFLAGS='-D warnings' cargo doc --no-deps 'a b' 'it'\''s' ''";
        assert_eq!(shown(&command), typed);
    }

    #[test]
    fn features_are_one_unbroken_list() {
        assert!(FEATURES.split(',').all(|feature| feature.split('/').count() == 2));
        assert!(!FEATURES.contains(char::is_whitespace));
    }

    #[test]
    fn a_failure_names_the_command() {
        let message = run(cargo(["no-such-verb-of-cargo"]).stderr(std::process::Stdio::null()));
        assert!(message.unwrap_err().starts_with("`cargo no-such-verb-of-cargo` failed with "));
        let message = run(&mut Command::new("no-such-program-anywhere")).unwrap_err();
        assert!(message.starts_with("cannot start `no-such-program-anywhere`: "), "{message}");
    }

    #[test]
    fn a_built_binary_lies_under_its_profile() {
        let file = built("dist", "conformance").unwrap();
        assert!(file.parent().is_some_and(|folder| folder.ends_with("dist")), "{file:?}");
        assert_eq!(file.file_stem(), Some(OsStr::new("conformance")));
    }
}
