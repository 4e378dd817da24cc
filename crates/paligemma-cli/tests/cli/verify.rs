//! `verify`: a sound model passes, and whatever is broken is named.

use std::fs;
use std::path::Path;

use paligemma::pocket;
use serde_json::{Value, json as object};

use crate::support::{
    Desk, assert_one_error, edit, header, json, keys, paligemma, pocket_folder, prints,
    write_adapter,
};

const CHECKS: [&str; 7] =
    ["configuration", "weights", "numbers", "tokenizer", "pictures", "generation", "self-test"];

/// The settings that a published folder has beside the weights.
fn complete(folder: &Path) {
    let half = [0.5; 3];
    let pictures = object!({
        "image_processor_type": "SiglipImageProcessor", "do_convert_rgb": null,
        "do_normalize": true, "do_rescale": true, "do_resize": true, "image_mean": half,
        "image_std": half, "image_seq_length": 64, "resample": 3, "rescale_factor": 1.0 / 255.0,
        "size": {"height": 112, "width": 112},
    });
    let generation = object!({"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0});
    fs::write(folder.join("preprocessor_config.json"), pictures.to_string()).unwrap();
    fs::write(folder.join("generation_config.json"), generation.to_string()).unwrap();
}

#[test]
fn a_sound_model_passes() {
    let folder = pocket_folder();
    complete(folder.path());
    let model = folder.path().to_str().unwrap();
    let verdict = json(&["verify", "--model", model]);
    assert_eq!(keys(&verdict), ["checks", "fingerprint", "model", "sound"]);
    assert_eq!(verdict["sound"], true);
    let checks = verdict["checks"].as_array().unwrap();
    assert_eq!(
        checks.iter().map(|check| check["name"].as_str().unwrap()).collect::<Vec<_>>(),
        CHECKS
    );
    assert!(checks.iter().all(|check| check["outcome"] == "passed"), "{verdict}");
    assert!(checks[6]["found"].as_str().unwrap().contains("red"), "{verdict}");
    let text = prints(&["verify", "--model", model]);
    assert!(text.ends_with("will answer as its authors meant\n"), "{text}");
    assert!(text.lines().count() <= 24 && !text.contains("FAILED"), "{text}");
}

#[test]
fn what_is_absent_is_open() {
    let verdict = json(&["verify"]);
    assert_eq!((&verdict["model"], &verdict["sound"]), (&"embedded".into(), &true.into()));
    let open = verdict["checks"].as_array().unwrap().iter();
    let open: Vec<_> =
        open.filter(|check| check["outcome"] == "open").map(|c| &c["name"]).collect();
    assert_eq!(open, ["pictures", "generation"]);
}

/// Runs `verify` on a copy of the embedded model in which something was broken.
#[track_caller]
fn broken(change: impl FnOnce(&Path), check: &str, parts: &[&str]) {
    let folder = pocket_folder();
    complete(folder.path());
    change(folder.path());
    let model = folder.path().to_str().unwrap();
    let output = paligemma().args(["verify", "--json", "--model", model]).output().unwrap();
    assert_one_error(&output, &["will not answer as its authors meant", "1 of "]);
    let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdict["sound"], false);
    let failed = verdict["checks"].as_array().unwrap().iter();
    let failed: Vec<_> = failed.filter(|check| check["outcome"] == "failed").collect();
    assert_eq!(failed.len(), 1, "{verdict}");
    assert_eq!(failed[0]["name"], check);
    for part in parts {
        assert!(failed[0]["found"].as_str().unwrap().contains(part), "{part} is not in {verdict}");
    }
}

/// The embedded weights with another header.
fn with_header(change: impl FnOnce(&mut Value)) -> impl FnOnce(&Path) {
    let (mut names, data) = header();
    change(&mut names);
    let names = names.to_string();
    let length = (names.len() as u64).to_le_bytes();
    let file = [&length[..], names.as_bytes(), &pocket::WEIGHTS[data..]].concat();
    move |folder| fs::write(folder.join("model.safetensors"), file).unwrap()
}

const NORM: &str = "language_model.model.norm.weight";

#[test]
fn broken_weights_are_named() {
    let (names, data) = header();
    let start = usize::try_from(names[NORM]["data_offsets"][0].as_u64().unwrap()).unwrap();
    let mut bytes = pocket::WEIGHTS.to_vec();
    bytes[data + start..][..4].fill(0xff);
    let one = |folder: &Path| fs::write(folder.join("model.safetensors"), bytes).unwrap();
    broken(one, "numbers", &[NORM, "not finite"]);

    let width = names[NORM]["shape"][0].as_u64().unwrap();
    let folded = with_header(|names| names[NORM]["shape"] = object!([2, width / 2]));
    broken(folded, "weights", &[NORM, "has shape", "expected"]);

    let renamed = with_header(|names| {
        let tensor = names.as_object_mut().unwrap().remove(NORM).unwrap();
        names["language_model.model.morn.weight"] = tensor;
    });
    broken(renamed, "weights", &["lacks", NORM]);
    let gone = |folder: &Path| fs::remove_file(folder.join("model.safetensors")).unwrap();
    broken(gone, "weights", &["has no weights"]);
}

#[test]
fn an_adapter_is_looked_at_with_its_base() {
    let desk = Desk::new();
    let (adapter, file) = (&*desk.name("adapter"), desk.path("adapter/adapter_model.safetensors"));
    write_adapter(&desk.path("adapter"), "embedded");
    let words = ["verify", "--json", "--model", adapter];
    let verdict: Value = serde_json::from_str(&prints(&words)).unwrap();
    assert_eq!(verdict["sound"], true, "{verdict}");
    assert_ne!(verdict["fingerprint"], json(&["verify"])["fingerprint"]);
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes.len();
    bytes[end - 4..].fill(0xff);
    fs::write(file, bytes).unwrap();
    let output = paligemma().args(words).output().unwrap();
    assert_one_error(&output, &["will not answer as its authors meant", "1 of "]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("lora_") && said.contains("not finite"), "{said}");
}

#[test]
fn wrong_tokens_are_named() {
    let config = |folder: &Path| folder.join("config.json");
    broken(
        |folder| edit(&config(folder), |config| config["image_token_index"] = 5.into()),
        "tokenizer",
        &["token 5 is <image>"],
    );
    let other_start = |folder: &Path| {
        edit(&config(folder), |config| config["bos_token_id"] = 3.into());
        edit(&folder.join("generation_config.json"), |file| file["bos_token_id"] = 3.into());
    };
    broken(other_start, "tokenizer", &["<bos> is token 2, expected 3"]);
}

#[test]
fn wrong_settings_are_named() {
    for (field, value) in [
        ("image_mean", object!([0.485, 0.456, 0.406])),
        ("size", object!({"height": 224, "width": 224})),
        ("rescale_factor", object!(1)),
        ("resample", object!(2)),
    ] {
        let change = |folder: &Path| {
            edit(&folder.join("preprocessor_config.json"), |file| file[field] = value);
        };
        broken(change, "pictures", &[field]);
    }
    let endless = |folder: &Path| {
        edit(&folder.join("generation_config.json"), |file| file["eos_token_id"] = Value::Null);
    };
    broken(endless, "generation", &["no eos_token_id"]);
}
