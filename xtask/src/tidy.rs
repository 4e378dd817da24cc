//! `tidy`: proves the house rules on every file that git tracks or would track.

mod markdown;
mod source;
mod text;

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::workspace::{self, Result};

/// The largest file that the repository takes: the mask VQ-VAE of the published size, which a golden
/// test needs whole, has 7.8 MiB.
const LARGEST: u64 = 8 << 20;

/// A rule broken at a line, or by the whole file where the line is 0.
#[derive(Debug, PartialEq, Eq)]
struct Broken {
    line: usize,
    rule: String,
}

impl Broken {
    fn new(line: usize, rule: impl Into<String>) -> Self {
        Self { line, rule: rule.into() }
    }
}

/// Checks every file.
///
/// # Errors
/// One line for each place that breaks a rule.
pub(crate) fn run() -> Result {
    let root = workspace::root();
    let files = files(root)?;
    let found = check(root, &files)?;
    if found.is_empty() {
        println!("tidy: {} files", files.len());
        return Ok(());
    }
    Err(format!("house rules are broken:\n  {}", found.join("\n  ")))
}

/// Names of all files of the work tree that are not ignored, relative to the root.
fn files(root: &Path) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let names = String::from_utf8_lossy(&workspace::output(&mut git)?).into_owned();
    let mut names: Vec<String> =
        names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    // A file that is deleted but not yet in the index is still listed.
    names.retain(|name| root.join(name).is_file());
    names.sort();
    Ok(names)
}

/// Every broken rule in the files, as `NAME:LINE: RULE`.
fn check(root: &Path, files: &[String]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for name in files {
        let path = root.join(name);
        let unreadable = |cause| format!("cannot read {}: {cause}", path.display());
        let size = fs::metadata(&path).map_err(unreadable)?.len();
        let mut broken = Vec::new();
        if size > LARGEST {
            let limit = LARGEST >> 20;
            broken.push(Broken::new(0, format!("has {size} bytes, over {limit} MiB")));
        } else if text::is_ours(name) {
            let content = fs::read_to_string(&path).map_err(unreadable)?;
            broken.extend(text::check(&content));
            if has_ending(name, "rs") {
                broken.extend(source::check(name, &content));
            } else if has_ending(name, "md") {
                let folder = path.parent().unwrap_or(root);
                broken.extend(markdown::check(folder, &content));
            }
        }
        broken.sort_by_key(|broken| broken.line);
        found.extend(broken.iter().map(|Broken { line, rule }| match line {
            0 => format!("{name}: {rule}"),
            line => format!("{name}:{line}: {rule}"),
        }));
    }
    Ok(found)
}

fn has_ending(name: &str, ending: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A work tree with these files.
    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Vec<String>) {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        (root, files.iter().map(|(name, _)| (*name).to_owned()).collect())
    }

    #[test]
    fn a_tidy_tree_is_silent() {
        let (root, names) = tree(&[
            ("README.md", "See [the map](docs/map.md#rooms).\n"),
            ("docs/map.md", "# Rooms\n\n[back](../README.md)\n"),
            ("crates/paligemma-nn/src/lib.rs", "//! Layers.\n"),
            ("data.bin", "trailing blanks in data are nobody's business \n"),
        ]);
        assert_eq!(check(root.path(), &names).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn each_kind_of_file_meets_its_rules_with_name_and_line() {
        let (root, names) = tree(&[
            ("README.md", "First.\nSee [the map](docs/map.md).\n"),
            ("crates/paligemma-nn/src/lib.rs", "use std::fs; \n"),
            ("Cargo.toml", "[workspace]\t\n"),
        ]);
        let expected = [
            "README.md:2: the link docs/map.md leads nowhere",
            "crates/paligemma-nn/src/lib.rs:1: trailing whitespace",
            "crates/paligemma-nn/src/lib.rs:1: no module documentation (`//!`) on the first line",
            "Cargo.toml:1: trailing whitespace",
        ];
        assert_eq!(check(root.path(), &names).unwrap(), expected);
    }

    #[test]
    fn a_huge_file_is_refused_unread() {
        let (root, names) = tree(&[("weights.safetensors", "")]);
        let file = fs::File::options().write(true).open(root.path().join(&names[0])).unwrap();
        file.set_len(LARGEST).unwrap();
        assert!(check(root.path(), &names).unwrap().is_empty());
        file.set_len(LARGEST + 1).unwrap();
        let found = check(root.path(), &names).unwrap();
        assert_eq!(found, ["weights.safetensors: has 8388609 bytes, over 8 MiB"]);
    }

    #[test]
    fn files_are_those_that_git_does_not_ignore() {
        let (root, _) = tree(&[(".gitignore", "/target\n"), ("a.rs", ""), ("target/b.rs", "")]);
        workspace::output(Command::new("git").args(["init", "-q"]).current_dir(root.path()))
            .unwrap();
        assert_eq!(files(root.path()).unwrap(), [".gitignore", "a.rs"]);
    }
}
