//! Adapters and runs as models, and exports of them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json as object};

use crate::support::{Desk, edit, json, paligemma, pocket_folder, prints, refuses, write_adapter};

/// How probable a model finds an answer to a question about the desk's picture.
fn score(desk: &Desk, words: &[&str]) -> f64 {
    let scene = desk.scene();
    let query = [
        "score",
        &scene,
        "--prompt",
        "caption en",
        "--candidate",
        "a red square",
        "--dtype",
        "f32",
    ];
    let scored = json(&[&query[..], words].concat());
    scored["candidates"][0]["total"].as_f64().unwrap()
}

#[track_caller]
fn assert_near(one: f64, other: f64) {
    assert!((one - other).abs() < 1e-3, "{one} and {other}");
}

#[test]
fn an_adapter_a_run_and_a_merged_export_are_one_model() {
    let desk = Desk::new();
    let run = desk.name("run");
    write_adapter(&desk.path("run/step-0000020"), "embedded");
    fs::write(desk.path("run/latest"), "step-0000020\n").unwrap();
    let adapter = desk.name("run/step-0000020");
    let expected = score(&desk, &["--model", &run]);
    assert_near(score(&desk, &["--model", &adapter]), expected);
    assert!((score(&desk, &[]) - expected).abs() > 0.1, "the adapter changes something");

    let merged = desk.name("merged");
    assert_eq!(
        prints(&["export", "--model", &run, "--merge", "--dtype", "f32", "--out", &merged]),
        ""
    );
    assert_near(score(&desk, &["--model", &merged]), expected);
    assert!(prints(&["info", "--model", &merged]).contains("published"));
    let mut names: Vec<_> =
        fs::read_dir(&merged).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["config.json", "masks.safetensors", "model.safetensors", "tokenizer.json"]);

    // Alone, the adapter is copied as it is, and is as good.
    let copied = desk.name("copied");
    prints(&["export", "--model", &run, "--out", &copied]);
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        let read = |folder: &str| fs::read(Path::new(folder).join(name)).unwrap();
        assert!(read(&copied) == read(&adapter));
    }
    assert_near(score(&desk, &["--model", &copied]), expected);
    // Packed matrices keep it beside them.
    let packed = json(&["caption", &desk.scene(), "--model", &run, "--dtype", "int8"]);
    assert!(packed["token_ids"].is_array());
}

#[test]
fn the_base_can_be_another_folder() {
    let desk = Desk::new();
    let adapter = desk.name("adapter");
    write_adapter(&desk.path("adapter"), "no-such/model");
    let caption = ["caption", &desk.scene(), "--model", &adapter];
    refuses(&caption, &["is for `no-such/model`", "name the model it is for with --base"]);
    let folder = pocket_folder();
    let base = folder.path().to_str().unwrap();
    let named = score(&desk, &["--model", &adapter, "--base", base]);
    assert_near(named, score(&desk, &["--model", &adapter, "--base", "embedded"]));
    refuses(&[&caption[..], &["--base", &adapter]].concat(), &["an adapter itself"]);
    refuses(&["caption", &desk.scene(), "--model", base, "--base", base], &["is no adapter"]);
    // Of another model.
    edit(&folder.path().join("config.json"), |config| config["model_type"] = "llava".into());
    refuses(&[&caption[..], &["--base", base]].concat(), &["model_type is `llava`"]);
}

#[test]
fn an_adapter_without_the_name_of_its_base_is_told_it() {
    let desk = Desk::new();
    let adapter = &*desk.name("adapter");
    write_adapter(&desk.path("adapter"), "embedded");
    let expected = score(&desk, &["--model", adapter]);
    edit(&desk.path("adapter/adapter_config.json"), |config| {
        config["base_model_name_or_path"] = Value::Null;
    });
    let caption = ["caption", &desk.scene(), "--model", adapter];
    refuses(&caption, &["does not say for which model it is", "--base"]);
    assert_near(score(&desk, &["--model", adapter, "--base", "embedded"]), expected);
}

#[test]
fn a_file_that_others_call_latest_leads_nowhere() {
    let desk = Desk::new();
    write_adapter(&desk.path("adapter"), "embedded");
    let folder = pocket_folder();
    for model in [folder.path(), &desk.path("adapter")] {
        // As DeepSpeed writes beside a model.
        fs::create_dir(model.join("global_step500")).unwrap();
        fs::write(model.join("latest"), "global_step500").unwrap();
        prints(&["caption", &desk.scene(), "--model", model.to_str().unwrap()]);
    }
}

#[test]
fn what_cannot_be_opened_or_exported_is_said_and_nothing_is_written() {
    let desk = Desk::new();
    let (adapter, out) = (desk.name("adapter"), desk.name("out"));
    write_adapter(&desk.path("adapter"), "embedded");
    let export = |words: &[&str], parts: &[&str]| {
        refuses(&[&["export", "--out", &out][..], words].concat(), parts);
        assert!(!Path::new(&out).exists(), "{words:?}");
    };
    export(&["--merge"], &["embedded has no adapter to merge"]);
    export(&["--model", &adapter, "--dtype", "f16"], &["--dtype is for --merge"]);
    edit(&desk.path("adapter/adapter_config.json"), |config| config["r"] = 3.into());
    export(&["--model", &adapter, "--merge"], &["lora_A.weight", "has shape [2, ", "[3, "]);
    edit(&desk.path("adapter/adapter_config.json"), |config| config["use_dora"] = true.into());
    export(&["--model", &adapter, "--merge"], &["`use_dora` is true", "only plain LoRA"]);
    write_adapter(&desk.path("adapter"), "embedded");
    let words = ["convert", "--model", &adapter, "--dtype", "int8", "--out", &out];
    refuses(&words, &["is an adapter", "merge it first"]);
    let folder = pocket_folder();
    let model = folder.path().to_str().unwrap();
    let words = ["export", "--model", model, "--out", model];
    refuses(&words, &["holds files", "name a new folder"]);

    let run = desk.name("run");
    fs::create_dir(&run).unwrap();
    for name in ["step-9", "../adapter", ""] {
        fs::write(desk.path("run/latest"), name).unwrap();
        refuses(&["caption", &desk.scene(), "--model", &run], &["latest names", "no folder"]);
    }
}

#[test]
fn a_whole_model_is_exported_in_another_type() {
    let desk = Desk::new();
    let out = desk.name("out");
    prints(&["export", "--dtype", "bf16", "--out", &out]);
    let info = json(&["info", "--model", &out]);
    assert_eq!(info["problems"], object!([]), "{info}");
    let status = paligemma().args(["caption", &desk.scene(), "--model", &out]).status().unwrap();
    assert!(status.success());
}
