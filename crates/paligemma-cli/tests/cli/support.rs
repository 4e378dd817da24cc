//! Runs of the program, pictures to give it, and copies of the embedded model to break.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use paligemma::image::{Rgb, RgbImage};
use paligemma::pocket;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json as object};
use tempfile::TempDir;

/// The program, with no hub and an empty cache.
pub(crate) fn paligemma() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paligemma"));
    command.env("HF_ENDPOINT", "http://127.0.0.1:9").env("HF_HOME", env!("CARGO_TARGET_TMPDIR"));
    command.env_remove("HF_TOKEN").env_remove("HF_HUB_CACHE");
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

/// Writes an adapter of the embedded model into a folder: rank 2, on two matrices.
pub(crate) fn write_adapter(folder: &Path, base: &str) {
    write_adapter_of("model.language_model", folder, base);
}

/// The same for a model that calls its decoder something else.
pub(crate) fn write_adapter_of(decoder: &str, folder: &Path, base: &str) {
    let config: Value = serde_json::from_str(pocket::CONFIG).unwrap();
    let size = |name: &str| config["text_config"][name].as_u64().unwrap() as usize;
    let (width, inner) = (size("hidden_size"), size("intermediate_size"));
    let queries = size("num_attention_heads") * size("head_dim");
    let mut tensors = Vec::new();
    for (module, output, input) in
        [("0.self_attn.q_proj", queries, width), ("1.mlp.down_proj", width, inner)]
    {
        for (factor, shape) in [("A", vec![2, input]), ("B", vec![output, 2])] {
            let module = format!("base_model.model.{decoder}.layers.{module}");
            let count = shape.iter().product::<usize>();
            let value = |i: usize| 0.4 * ((i * 7 + shape[0]) as f32 * 0.37).sin();
            let bytes: Vec<u8> = (0..count).flat_map(|i| value(i).to_le_bytes()).collect();
            tensors.push((format!("{module}.lora_{factor}.weight"), shape, bytes));
        }
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let file = safetensors::serialize(views, None).unwrap();
    let config = object!({
        "peft_type": "LORA", "r": 2, "lora_alpha": 3, "base_model_name_or_path": base,
        "target_modules": ["q_proj", "down_proj"],
    });
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("adapter_model.safetensors"), file).unwrap();
    fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
}
