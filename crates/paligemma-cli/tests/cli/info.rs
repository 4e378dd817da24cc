//! `info` and `devices`.

use std::fs;

use paligemma::pocket;
use serde_json::Value;

use crate::support::{header, json, keys, paligemma, pocket_folder, prints};

const INFO: [&str; 7] =
    ["config", "memory", "model", "parameters", "problems", "tokenizer", "weights"];

#[test]
fn a_model_is_described_without_loading_it() {
    let folder = pocket_folder();
    let model = folder.path().to_str().unwrap();
    let (names, _) = header();
    let tensors = names.as_object().unwrap().keys().filter(|name| *name != "__metadata__");
    let tensors = tensors.count();
    for (words, name) in [(vec!["info"], "embedded"), (vec!["info", "--model", model], model)] {
        let info = json(&words);
        assert_eq!(keys(&info), INFO);
        assert_eq!(info["model"], name);
        assert_eq!(info["config"]["text_config"]["max_position_embeddings"], 512);
        let weights = &info["weights"];
        assert_eq!(keys(weights), ["bytes", "dtypes", "files", "layout", "tensors", "unused"]);
        assert_eq!(weights["tensors"], tensors);
        assert_eq!(weights["bytes"], pocket::WEIGHTS.len());
        assert_eq!((&weights["files"], &weights["layout"]), (&1.into(), &"published".into()));
        let counted: u64 =
            weights["dtypes"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
        assert_eq!(counted, tensors as u64);
        let numbers: u64 = names
            .as_object()
            .unwrap()
            .values()
            .filter_map(|tensor| tensor["shape"].as_array())
            .map(|shape| shape.iter().filter_map(Value::as_u64).product::<u64>())
            .sum();
        assert_eq!(info["parameters"], numbers);
        assert_eq!(info["tokenizer"]["eos"], 1);
        let needs = &info["memory"]["needs"];
        assert_eq!(keys(needs), ["bf16", "f32", "int4", "int8"]);
        assert_eq!(needs["f32"]["weights"], 4 * numbers);
        let total = |dtype: &str| needs[dtype]["total"].as_u64().unwrap();
        assert!(total("int4") < total("int8") && total("int8") < total("bf16"), "{needs}");
        assert!(info["problems"].as_array().unwrap().is_empty());
        let text = prints(&words);
        for part in ["112 x 112 pixels", "positions", &numbers.to_string(), "published"] {
            assert!(text.contains(part), "`{part}` is not in {text}");
        }
    }
}

#[test]
fn a_packed_model_takes_what_its_file_has() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("int4").display().to_string();
    prints(&["convert", "--dtype", "int4", "--out", &out]);
    let info = json(&["info", "--model", &out]);
    let needs = &info["memory"]["needs"];
    assert_eq!(keys(needs), ["int4"]);
    assert_eq!(needs["int4"]["mapped"], needs["int4"]["weights"]);
    // The file has a header besides.
    let file = info["weights"]["bytes"].as_u64().unwrap();
    let weights = needs["int4"]["weights"].as_u64().unwrap();
    assert!((weights..weights + 65536).contains(&file), "{weights} of {file}");
    let said = prints(&["info", "--model", &out]);
    assert!(said.contains("memory") && said.contains("mapped"), "{said}");
}

#[test]
fn the_second_generation_is_called_so() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny_pg2/published");
    let output = paligemma().args(["info", "--model", golden]).output().unwrap();
    // It has no tokenizer, which is its one problem.
    let said = String::from_utf8(output.stdout).unwrap();
    let generation = "PaliGemma 2, soft caps: attention 4, logits 6, window 6";
    assert!(said.contains(generation) && said.matches("problem").count() == 1, "{said}");
    assert!(!prints(&["info"]).contains("PaliGemma 2"));
}

#[test]
fn what_was_found_of_a_broken_model_is_printed() {
    let folder = pocket_folder();
    let model = folder.path().to_str().unwrap();
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let output = paligemma().args(["info", "--model", model, "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let info: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(info["problems"].as_array().unwrap().len(), 2);
    assert!(info["weights"].is_null() && info["tokenizer"].is_null());
    assert!(info["parameters"].as_u64() > Some(0));
    let output = paligemma().args(["info", "--model", model]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("112 x 112") && said.matches("problem").count() == 2, "{said}");
}

#[test]
fn every_backend_is_listed_with_its_state() {
    let devices = json(&["devices"]);
    assert_eq!(keys(&devices), ["auto", "devices"]);
    let listed = devices["devices"].as_array().unwrap();
    let names: Vec<_> = listed.iter().map(|device| device["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cuda:0", "wgpu", "flex", "ndarray"]);
    for device in listed {
        assert_eq!(keys(device), ["description", "name", "usable"]);
        if device["name"] == devices["auto"] {
            assert_eq!(device["usable"], true);
        }
    }
    let table = prints(&["devices"]);
    assert_eq!(table.lines().count(), listed.len());
    if cfg!(feature = "flex") {
        assert!(table.contains("burn-flex"));
    }
    if !cfg!(feature = "cuda") {
        assert!(table.contains("--features cuda"));
    }
}
