//! Model folders: the embedded model's files do what the embedded model does, broken ones do not.

use std::fs;
use std::path::Path;

use paligemma::pocket;
use serde_json::{Value, json as object};

use crate::support::{
    Desk, assert_one_error, edit, header, json, paligemma, pocket_folder, prints, refuses,
};

const NORM: &str = "language_model.model.norm.weight";

#[test]
fn a_folder_with_the_embedded_files_answers_alike() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    let folder = pocket_folder();
    let model = folder.path().to_str().unwrap();
    let answer = json(&["caption", scene, "--model", model]);
    assert_eq!(answer["token_ids"], json(&["caption", scene])["token_ids"]);
}

/// Runs `caption` and `info` on a copy of the embedded model in which something was broken.
#[track_caller]
fn broken(change: impl FnOnce(&Path), parts: &[&str]) {
    let desk = Desk::new();
    let folder = pocket_folder();
    change(folder.path());
    let model = folder.path().to_str().unwrap();
    refuses(&["caption", &desk.scene(), "--model", model], parts);
    // `info` says the same, after what it found.
    let output = paligemma().args(["info", "--json", "--model", model]).output().unwrap();
    assert_one_error(&output, parts);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!found["problems"].as_array().unwrap().is_empty(), "{found}");
}

#[test]
fn configurations() {
    let config = |folder: &Path| folder.join("config.json");
    broken(|folder| fs::remove_file(config(folder)).unwrap(), &["cannot read", "config.json"]);
    broken(|folder| fs::write(config(folder), "{").unwrap(), &["not a PaliGemma configuration"]);
    broken(
        |folder| edit(&config(folder), |config| config["model_type"] = "llava".into()),
        &["config.json", "model_type is `llava`", "expected `paligemma`"],
    );
    broken(
        |folder| {
            edit(&config(folder), |config| config["vision_config"]["patch_size"] = 13.into());
        },
        &["vision_config.image_size is 112", "patch_size"],
    );
    broken(
        |folder| {
            edit(&config(folder), |config| config["text_config"]["intermediate_size"] = 400.into());
        },
        &["mlp", "has shape", "expected", "400"],
    );
    broken(
        |folder| {
            edit(&config(folder), |config| config["text_config"]["num_hidden_layers"] = 5.into());
        },
        &["the checkpoint lacks `language_model.model.layers.4."],
    );
}

#[test]
fn weights() {
    let weights = |folder: &Path| folder.join("model.safetensors");
    let write = |bytes: Vec<u8>| move |folder: &Path| fs::write(weights(folder), bytes).unwrap();
    broken(|folder| fs::remove_file(weights(folder)).unwrap(), &["has no weights"]);
    let unsound = ["is not a sound safetensors file"];
    broken(write(Vec::new()), &["model.safetensors"]);
    broken(write(pocket::WEIGHTS[..100].to_vec()), &unsound);
    broken(write(pocket::WEIGHTS[..pocket::WEIGHTS.len() - 1].to_vec()), &unsound);
    broken(write([&u64::MAX.to_le_bytes()[..], b"{}"].concat()), &unsound);
    broken(write([&64_u64.to_le_bytes()[..], &[0xff; 64]].concat()), &unsound);

    let (mut names, data) = header();
    let tensor = names.as_object_mut().unwrap().remove(NORM).unwrap();
    names["language_model.model.morn.weight"] = tensor;
    let renamed = names.to_string();
    let length = (renamed.len() as u64).to_le_bytes();
    let renamed = [&length[..], renamed.as_bytes(), &pocket::WEIGHTS[data..]].concat();
    broken(write(renamed), &["lacks", NORM, "morn"]);
}

#[test]
fn shards() {
    let (first, second) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    let shard = |folder: &Path, norm: &str| {
        fs::rename(folder.join("model.safetensors"), folder.join(first)).unwrap();
        let (names, _) = header();
        let names = names.as_object().unwrap().keys().filter(|name| *name != "__metadata__");
        let placed =
            |name: &String| (name.clone(), Value::from(if name == NORM { norm } else { first }));
        let map: serde_json::Map<_, _> = names.map(placed).collect();
        let index = object!({ "weight_map": map }).to_string();
        fs::write(folder.join("model.safetensors.index.json"), index).unwrap();
    };
    broken(|folder| shard(folder, second), &["shard", second, "is missing"]);
    broken(|folder| shard(folder, "../up.safetensors"), &["not a file name"]);
    broken(
        |folder| {
            shard(folder, first);
            fs::copy(folder.join(first), folder.join(second)).unwrap();
        },
        &[second, "is not in the index"],
    );
    let folder = pocket_folder();
    shard(folder.path(), first);
    let desk = Desk::new();
    let words = ["caption", &desk.scene(), "--model", folder.path().to_str().unwrap()];
    assert_eq!(prints(&words), prints(&words[..2]));
}

#[test]
fn tokenizers() {
    let tokenizer = |folder: &Path| folder.join("tokenizer.json");
    broken(|folder| fs::remove_file(tokenizer(folder)).unwrap(), &["cannot read the tokenizer"]);
    broken(|folder| fs::write(tokenizer(folder), "[]").unwrap(), &["not a tokenizer.json"]);
    // Renamed, not removed: the ids of the others stay what they are.
    let without_locations = |folder: &Path| {
        let file = fs::read_to_string(tokenizer(folder)).unwrap();
        fs::write(tokenizer(folder), file.replace("<loc", "<lok")).unwrap();
    };
    broken(without_locations, &["tokenizer.json", "no single token", "<loc0000>"]);
    let config = |folder: &Path| folder.join("config.json");
    broken(
        |folder| edit(&config(folder), |config| config["image_token_index"] = 5.into()),
        &["token 5 is <image>", "same checkpoint"],
    );
    broken(
        |folder| edit(&config(folder), |config| config["eos_token_id"] = 106.into()),
        &["token 106 ends an answer", "the tokenizer says 1", "same checkpoint"],
    );
    // A token more than the model has rows, as in a tokenizer of another checkpoint.
    let one_more = |folder: &Path| {
        edit(&tokenizer(folder), |file| {
            let added = file["added_tokens"].as_array_mut().unwrap();
            let mut token = added.last().unwrap().clone();
            (token["id"], token["content"]) = (1625.into(), "<one more>".into());
            added.push(token);
        });
        edit(&config(folder), |config| config["text_config"]["vocab_size"] = 1625.into());
    };
    broken(one_more, &["the tokenizer has 1626 tokens, the model 1625"]);
}

#[test]
fn numbers_that_are_not_finite() {
    let (names, data) = header();
    let offsets = &names[NORM]["data_offsets"];
    let at = |end: usize| data + usize::try_from(offsets[end].as_u64().unwrap()).unwrap();
    let mut bytes = pocket::WEIGHTS.to_vec();
    // All bits set is no number in f32, f16 and bf16.
    bytes[at(0)..at(1)].fill(0xff);
    let folder = pocket_folder();
    fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
    let desk = Desk::new();
    let (scene, model) = (&*desk.scene(), folder.path().to_str().unwrap());
    let out = &*desk.name("boxes.png");
    for words in [
        vec!["caption", scene],
        vec!["caption", scene, "--json"],
        vec!["caption", scene, "--temperature", "1"],
        vec!["detect", scene, "cat", "--out", out],
        vec!["score", scene, "--prompt", "ocr", "--candidate", "a"],
    ] {
        let words = [&words[..], &["--model", model]].concat();
        refuses(&words, &["logits are not finite", "damaged"]);
    }
    assert_eq!(desk.files(), ["scene.png"], "nothing is half-written");
}
