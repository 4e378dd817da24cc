//! `convert --format`: a model in the formats of others answers as before, and comes back as it was.

use std::fs;
use std::path::Path;

use crate::support::{Desk, json, pocket_folder, prints, refuses};

const FORMATS: [(&str, &str, &str); 4] = [
    ("safetensors", "model.safetensors", "published"),
    ("npz", "paligemma.npz", "big_vision"),
    ("pytorch", "pytorch_model.bin", "published"),
    ("burnpack", "model.bpk", "burn modules"),
];

#[test]
fn a_model_in_any_format_answers_as_before_and_comes_back_bit_by_bit() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    let words = ["score", scene, "--prompt", "caption en", "--candidate", "a red square"];
    let score =
        |model: &str| json(&[&words[..], &["--model", model]].concat())["candidates"].clone();
    let expected = score("embedded");
    let weights = |folder: &str, file: &str| fs::read(Path::new(folder).join(file)).unwrap();
    let mut start = "embedded".to_owned();
    for (format, file, names) in FORMATS {
        let out = desk.name(format);
        assert_eq!(prints(&["convert", "--model", &start, "--format", format, "--out", &out]), "");
        assert!(Path::new(&out).join(file).is_file());
        assert_eq!(score(&out), expected, "{format}");
        assert_eq!(json(&["info", "--model", &out])["weights"]["layout"], names, "{format}");
        // Masks and tokenizer came along.
        assert!(Path::new(&out).join("masks.safetensors").is_file());
        start = out;
    }
    let back = desk.name("back");
    prints(&["convert", "--model", &start, "--format", "safetensors", "--out", &back]);
    let first = desk.name("safetensors");
    assert!(weights(&back, "model.safetensors") == weights(&first, "model.safetensors"));

    let half = desk.name("half");
    prints(&["convert", "--format", "npz", "--dtype", "bf16", "--out", &half]);
    let types = json(&["info", "--model", &half])["weights"]["dtypes"].clone();
    assert_eq!(types.as_object().unwrap().keys().collect::<Vec<_>>(), ["bf16"], "{types}");
    // Any format is packed as the published one is.
    let [from_npz, direct] = ["from-npz", "direct"].map(|name| desk.name(name));
    prints(&["convert", "--model", &desk.name("npz"), "--dtype", "int8", "--out", &from_npz]);
    prints(&["convert", "--dtype", "int8", "--out", &direct]);
    assert!(weights(&from_npz, "model.safetensors") == weights(&direct, "model.safetensors"));
}

#[test]
fn what_a_format_does_not_hold_is_said() {
    let desk = Desk::new();
    let out = &*desk.name("out");
    let convert = |more: &[&str], parts: &[&str]| {
        refuses(&[&["convert", "--out", out], more].concat(), parts);
        assert!(!Path::new(out).exists());
    };
    convert(&[], &["packed weights are bf16, int8 or int4", "--dtype"]);
    convert(&["--dtype", "f32"], &["packed weights are bf16, int8 or int4", "--format"]);
    convert(&["--format", "npz", "--dtype", "int8"], &["npz", "f32, f16 or bf16"]);
    let packed = &*desk.name("packed");
    prints(&["convert", "--dtype", "int8", "--out", packed]);
    convert(&["--model", packed, "--format", "npz"], &["packed as int8 already", "original"]);
    let folder = pocket_folder();
    let own = folder.path().to_str().unwrap();
    let words = ["convert", "--model", own, "--format", "npz", "--out", own];
    refuses(&words, &["holds files", "name a new folder"]);
}
