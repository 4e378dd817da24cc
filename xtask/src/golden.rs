//! `golden`: makes the golden files with their pinned makers, and ties them to a list of hashes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use sha2::{Digest, Sha256};

use crate::gemma_tokenizer;
use crate::workspace::{self, Result};

/// Arguments of `golden`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(value_enum, default_value_t = Action::Check)]
    action: Action,
}

#[derive(Clone, Copy, ValueEnum)]
enum Action {
    /// Compare the files with the manifest
    Check,
    /// Run the makers in a Python environment of their own, then compare
    Make,
    /// Write the manifest anew, after a look at what has changed
    Manifest,
}

/// The list of hashes, in the format of `sha256sum`.
const MANIFEST: &str = "MANIFEST";

/// Endings of what makes or explains the data, and so is not data.
const NOT_DATA: &[&str] = &["py", "txt", "md"];

/// Makes, checks or accepts tests/golden.
///
/// # Errors
/// A maker fails, a file cannot be read, or one differs from the manifest.
pub(crate) fn run(args: &Args) -> Result {
    let folder = folder();
    match args.action {
        Action::Check => check(),
        Action::Make => make(&folder).and_then(|()| check()),
        Action::Manifest => write_manifest(&folder),
    }
}

/// Compares tests/golden with its manifest.
///
/// # Errors
/// A file cannot be read, or differs from the manifest.
pub(crate) fn check() -> Result {
    compare(&folder())
}

fn folder() -> PathBuf {
    workspace::root().join("tests").join("golden")
}

/// Runs every `make_*.py` of the folder with the versions of its requirements.txt.
fn make(folder: &Path) -> Result {
    gemma_tokenizer::run()?;
    let venv = workspace::root().join("target").join("golden-venv");
    let bin = if cfg!(windows) { "Scripts" } else { "bin" };
    let python = venv.join(bin).join("python");
    let call = |program: &Path, args: &[&str], path: &Path| {
        workspace::run(Command::new(program).args(args).arg(path))
    };
    call(Path::new("python3"), &["-m", "venv"], &venv)?;
    call(&python, &["-m", "pip", "install", "--requirement"], &folder.join("requirements.txt"))?;
    let makers = fs::read_dir(folder).map_err(|cause| unreadable(folder, &cause))?;
    let mut makers: Vec<PathBuf> = makers.flatten().map(|entry| entry.path()).collect();
    makers.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("make_") && path.extension().is_some_and(|ending| ending == "py")
    });
    makers.sort();
    makers.iter().try_for_each(|maker| call(&python, &[&maker.to_string_lossy()], folder))
}

/// Compares the folder with its manifest.
fn compare(folder: &Path) -> Result {
    let listed = read_manifest(folder)?;
    let present = hashes(folder)?;
    let differences = differences(&listed, &present);
    if differences.is_empty() {
        println!("golden: {} files are as listed", present.len());
        return Ok(());
    }
    let lines = differences.join("\n  ");
    Err(format!(
        "tests/golden differs from its manifest:\n  {lines}\n\
         if that is meant, run `cargo xtask golden manifest` and commit it"
    ))
}

fn write_manifest(folder: &Path) -> Result {
    let present = hashes(folder)?;
    let lines = present.iter().map(|(name, hash)| format!("{hash}  {name}"));
    let text = lines.collect::<Vec<_>>().join("\n") + "\n";
    let file = folder.join(MANIFEST);
    fs::write(&file, text).map_err(|cause| format!("cannot write {}: {cause}", file.display()))?;
    println!("golden: {} files listed in {}", present.len(), file.display());
    Ok(())
}

/// Hashes by name, as the manifest lists them.
fn read_manifest(folder: &Path) -> Result<BTreeMap<String, String>> {
    let file = folder.join(MANIFEST);
    let text = fs::read_to_string(&file).map_err(|cause| unreadable(&file, &cause))?;
    text.lines()
        .map(|line| match line.split_once("  ") {
            Some((hash, name)) if hash.len() == 64 => Ok((name.to_owned(), hash.to_owned())),
            _ => Err(format!("{}: `{line}` is not `HASH  NAME`", file.display())),
        })
        .collect()
}

/// Hashes by name of the data files under the folder.
fn hashes(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).map_err(|cause| unreadable(&next, &cause))? {
            let path = entry.map_err(|cause| unreadable(&next, &cause))?.path();
            let ending = path.extension().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with(MANIFEST) && !NOT_DATA.contains(&&*ending) {
                let bytes = fs::read(&path).map_err(|cause| unreadable(&path, &cause))?;
                let name = path.strip_prefix(folder).unwrap_or(&path);
                let name = name.to_string_lossy().replace('\\', "/");
                found.insert(name, format!("{:x}", Sha256::digest(bytes)));
            }
        }
    }
    Ok(found)
}

/// A line for each file that is not as listed, in the order of names.
fn differences(
    listed: &BTreeMap<String, String>,
    present: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut found = BTreeMap::new();
    for (name, hash) in listed {
        match present.get(name) {
            None => found.insert(name, "is listed but missing"),
            Some(other) if other != hash => found.insert(name, "has changed"),
            Some(_) => None,
        };
    }
    for name in present.keys().filter(|name| !listed.contains_key(*name)) {
        found.insert(name, "is not listed");
    }
    found.into_iter().map(|(name, what)| format!("{name} {what}")).collect()
}

fn unreadable(path: &Path, cause: &std::io::Error) -> String {
    format!("cannot read {}: {cause}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep").join("abc.bin"), "abc").unwrap();
        fs::write(folder.path().join("empty.json"), "").unwrap();
        fs::write(folder.path().join("make_it.py"), "a maker is not data").unwrap();
        folder
    }

    #[test]
    fn the_manifest_is_what_sha256sum_writes() {
        let folder = folder();
        write_manifest(folder.path()).unwrap();
        // The two standard examples of FIPS 180-4's SHA-256: "abc" and the empty message.
        let expected = "\
ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  deep/abc.bin
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  empty.json
";
        assert_eq!(fs::read_to_string(folder.path().join(MANIFEST)).unwrap(), expected);
        compare(folder.path()).unwrap();
    }

    #[test]
    fn changed_missing_and_new_files_are_each_named() {
        let folder = folder();
        write_manifest(folder.path()).unwrap();
        fs::write(folder.path().join("deep").join("abc.bin"), "abd").unwrap();
        fs::remove_file(folder.path().join("empty.json")).unwrap();
        fs::write(folder.path().join("new.json"), "{}").unwrap();
        fs::write(folder.path().join("make_it.py"), "another maker").unwrap();
        let message = compare(folder.path()).unwrap_err();
        let named: Vec<&str> = message.lines().filter(|line| line.starts_with("  ")).collect();
        let expected = [
            "  deep/abc.bin has changed",
            "  empty.json is listed but missing",
            "  new.json is not listed",
        ];
        assert_eq!(named, expected);
    }

    #[test]
    fn a_missing_or_broken_manifest_is_an_error() {
        let folder = folder();
        assert!(compare(folder.path()).unwrap_err().contains("cannot read"));
        fs::write(folder.path().join(MANIFEST), "no hash here\n").unwrap();
        assert!(compare(folder.path()).unwrap_err().contains("`no hash here`"));
    }
}
