//! Runs of the program, pictures to give it, and copies of the embedded model to break.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use paligemma::image::{Rgb, RgbImage};
use paligemma::pocket;
use serde_json::Value;
use tempfile::TempDir;

/// The program, with no hub and an empty cache.
pub(crate) fn paligemma() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paligemma"));
    command.env("HF_ENDPOINT", "http://127.0.0.1:9").env("HF_HOME", env!("CARGO_TARGET_TMPDIR"));
    command.env_remove("HF_TOKEN");
    command
}

/// What the program prints if all is well.
pub(crate) fn prints(words: &[&str]) -> String {
    let output = paligemma().args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The one object that the program prints.
pub(crate) fn json(words: &[&str]) -> Value {
    let printed = prints(&[words, &["--json"]].concat());
    assert_eq!(printed.lines().count(), 1, "{printed}");
    serde_json::from_str(&printed).unwrap()
}

/// Asserts that the program says what is wrong on one line, prints nothing and ends with 1.
#[track_caller]
pub(crate) fn refuses(words: &[&str], parts: &[&str]) {
    let output = paligemma().args(words).output().unwrap();
    assert!(output.stdout.is_empty(), "{words:?}: {output:?}");
    assert_one_error(&output, parts);
}

/// Asserts one line of error with these parts, and status 1.
#[track_caller]
pub(crate) fn assert_one_error(output: &Output, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("error: ") && said.ends_with('\n'), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    for part in parts {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}

/// The names of an object's members, sorted.
pub(crate) fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// A folder with a picture, `scene.png`, of 150 x 100 pixels.
pub(crate) struct Desk {
    folder: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        let picture = RgbImage::from_fn(150, 100, |x, y| match (x, y) {
            (30..=70, 20..=60) => Rgb([220, 30, 40]),
            (90..=130, 50..=90) => Rgb([30, 60, 220]),
            _ => Rgb([200, 200, 190]),
        });
        picture.save(desk.path("scene.png")).unwrap();
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A path in the folder as an argument.
    pub(crate) fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn scene(&self) -> String {
        self.name("scene.png")
    }

    /// A file with these contents, as an argument.
    pub(crate) fn file(&self, name: &str, contents: &[u8]) -> String {
        fs::write(self.path(name), contents).unwrap();
        self.name(name)
    }

    /// The names of all files, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
        names.sort();
        names
    }
}

/// The embedded model's files.
pub(crate) fn pocket_files() -> [(&'static str, &'static [u8]); 3] {
    [
        ("config.json", pocket::CONFIG.as_bytes()),
        ("tokenizer.json", pocket::TOKENIZER),
        ("model.safetensors", pocket::WEIGHTS),
    ]
}

/// A folder with the embedded model's files.
pub(crate) fn pocket_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, contents) in pocket_files() {
        fs::write(folder.path().join(name), contents).unwrap();
    }
    folder
}

/// Changes a JSON file.
pub(crate) fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// The header of the embedded weights, and where the data begin.
pub(crate) fn header() -> (Value, usize) {
    let (length, rest) = pocket::WEIGHTS.split_first_chunk().unwrap();
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
    (serde_json::from_slice(&rest[..length]).unwrap(), 8 + length)
}
