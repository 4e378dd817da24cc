//! Packed weights: made at loading or by `convert`, they answer alike; what does not fit is
//! refused.

use std::fs;
use std::path::Path;

use paligemma::pocket;

use crate::support::{
    Desk, assert_one_error, header, json, paligemma, pocket_files, pocket_folder, prints, refuses,
};

const FORMATS: [&str; 3] = ["bf16", "int8", "int4"];
const QUERY: &str = "language_model.model.layers.1.self_attn.q_proj.weight";

/// The probabilities of two answers, which show every bit of the weights.
fn probabilities(scene: &str, more: &[&str]) -> serde_json::Value {
    let words = ["score", scene, "--prompt", "caption en", "--candidate", "a red square"];
    json(&[&words[..], &["--candidate", "a blue circle"], more].concat())["candidates"].clone()
}

#[test]
fn a_converted_model_answers_as_one_that_is_packed_when_loaded() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    for format in FORMATS {
        let out = &*desk.name(format);
        assert_eq!(prints(&["convert", "--dtype", format, "--out", out]), "");
        let direct = probabilities(scene, &["--dtype", format]);
        assert_eq!(direct, probabilities(scene, &["--model", out]), "{format}");
        assert_eq!(direct, probabilities(scene, &["--model", out, "--dtype", format]));
        // What is beside the weights is the same file.
        for (name, contents) in &pocket_files()[..2] {
            assert!(fs::read(Path::new(out).join(name)).unwrap() == *contents, "{name}");
        }
        let types = json(&["info", "--model", out])["weights"]["dtypes"].clone();
        assert!(types[format!("packed {format}")].as_u64() > Some(0), "{types}");
    }
    let parameters = |words: &[&str]| json(&[&["info"][..], words].concat())["parameters"].clone();
    assert_eq!(parameters(&["--model", &desk.name("int8")]), parameters(&[]));
    // The result of an earlier run is replaced, also if it is another format's.
    let out = &*desk.name("int8");
    prints(&["convert", "--dtype", "int4", "--out", out]);
    assert_eq!(probabilities(scene, &["--dtype", "int4"]), probabilities(scene, &["--model", out]));
    // A model from a folder gives the same file as the embedded one.
    let folder = pocket_folder();
    let (model, again) = (folder.path().to_str().unwrap(), &*desk.name("again"));
    prints(&["convert", "--model", model, "--dtype", "int4", "--out", again, "--threads", "1"]);
    let weights = |folder: &str| fs::read(Path::new(folder).join("model.safetensors")).unwrap();
    assert!(weights(again) == weights(out));
}

#[test]
fn a_converted_model_still_cuts_out() {
    let desk = Desk::new();
    let (scene, out) = (&*desk.scene(), &*desk.name("int8"));
    prints(&["convert", "--dtype", "int8", "--out", out]);
    let segment = |more: &[&str]| {
        let words = ["segment", scene, "red square ; blue square", "--constrained"];
        json(&[&words[..], more].concat())["segments"].clone()
    };
    let direct = segment(&["--dtype", "int8"]);
    assert!(!direct.as_array().unwrap().is_empty());
    assert_eq!(segment(&["--model", out]), direct);
    // From a folder, under any of its names.
    let folder = pocket_folder();
    fs::write(folder.path().join("vae-oid.safetensors"), pocket::MASKS).unwrap();
    let (model, again) = (folder.path().to_str().unwrap(), &*desk.name("again"));
    prints(&["convert", "--model", model, "--dtype", "int8", "--out", again]);
    assert_eq!(segment(&["--model", again]), direct);
    assert!(Path::new(again).join("vae-oid.safetensors").is_file());
}

#[test]
fn instructions_are_held_down_by_name() {
    let desk = Desk::new();
    let caption = |isa: &str| {
        let mut command = paligemma();
        command.args(["caption", &desk.scene(), "--dtype", "int8"]).env("PALIGEMMA_ISA", isa);
        command.output().unwrap()
    };
    let best = prints(&["caption", &desk.scene(), "--dtype", "int8"]);
    for isa in ["plain", "avx2", "avx512", "avx512bf16", "amx"] {
        assert_eq!(String::from_utf8(caption(isa).stdout).unwrap(), best, "{isa}");
    }
    let parts = ["PALIGEMMA_ISA", "avx-512", "use plain, avx2, avx512, avx512bf16 or amx"];
    assert_one_error(&caption("avx-512"), &parts);
}

#[test]
fn answers_do_not_depend_on_the_number_of_threads() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    for format in FORMATS {
        let one = probabilities(scene, &["--dtype", format, "--threads", "1"]);
        let five = probabilities(scene, &["--dtype", format, "--threads", "5"]);
        assert_eq!(one, five, "{format}");
    }
}

#[test]
fn a_packed_model_is_used_as_what_it_is() {
    let desk = Desk::new();
    let (scene, out) = (&*desk.scene(), &*desk.name("out"));
    prints(&["convert", "--dtype", "int8", "--out", out]);
    for dtype in ["f32", "f16", "bf16", "int4"] {
        let words = ["caption", scene, "--model", out, "--dtype", dtype];
        refuses(&words, &["is packed as int8", "flex", "auto"]);
    }
    if cfg!(feature = "ndarray") {
        let words = ["caption", scene, "--model", out, "--device", "ndarray"];
        refuses(&words, &["is packed as int8", "flex"]);
        let words = ["caption", scene, "--device", "ndarray", "--dtype", "int8"];
        refuses(&words, &["ndarray does not compute in int8", "--device flex"]);
    }
    let words = ["convert", "--model", out, "--dtype", "int4", "--out", &desk.name("other")];
    refuses(&words, &["packed as int8 already", "use the original"]);
    let file = Path::new(out).join("model.safetensors");
    let change = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let mut bytes = fs::read(&file).unwrap();
        let at = bytes.windows(from.len()).position(|window| window == from.as_bytes());
        bytes[at.unwrap()..][..to.len()].copy_from_slice(to.as_bytes());
        fs::write(&file, bytes).unwrap();
    };
    let again = ["int8", "version 1", "convert the original checkpoint again"];
    change(r#"\"version\":1"#, r#"\"version\":9"#);
    refuses(&["caption", scene, "--model", out], &[&["version 9"][..], &again].concat());
    // The way out of it: the folder is known as a result, though nobody can read it.
    prints(&["convert", "--dtype", "int8", "--out", out]);
    change(r#"\"format\":\"int8\""#, r#"\"format\":\"int9\""#);
    refuses(&["caption", scene, "--model", out], &[&["int9"][..], &again].concat());
    prints(&["convert", "--dtype", "int8", "--out", out]);
    change(r#"\":[1664,128]"#, r#"\":[1664,256]"#);
    refuses(&["caption", scene, "--model", out], &["embed_tokens", "packed shape"]);
    prints(&["convert", "--dtype", "int8", "--out", &desk.name("fresh")]);
    fs::copy(Path::new(&desk.name("fresh")).join("model.safetensors"), &file).unwrap();
    change(r#"\":[384,128]"#, r#"\":[383,128]"#);
    refuses(&["caption", scene, "--model", out], &["has shape [383, 128]", "[384, 128]"]);
}

#[test]
fn nothing_is_written_over_other_files() {
    let desk = Desk::new();
    let folder = pocket_folder();
    let model = folder.path().to_str().unwrap();
    let convert = ["convert", "--model", model, "--dtype", "int8", "--out"];
    refuses(&[&convert[..], &[model]].concat(), &["the checkpoint itself"]);
    refuses(&[&convert[..], &[&desk.name("")]].concat(), &["holds other files"]);
    refuses(&[&convert[..], &[&desk.scene()]].concat(), &["cannot write", "scene.png"]);
    refuses(&[&convert[..], &[&desk.name("scene.png/below")]].concat(), &["cannot write"]);
    assert_eq!(desk.files(), ["scene.png"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn weights_that_cannot_be_packed_are_named() {
    let desk = Desk::new();
    let (names, data) = header();
    let start = usize::try_from(names[QUERY]["data_offsets"][0].as_u64().unwrap()).unwrap();
    let mut bytes = pocket::WEIGHTS.to_vec();
    // All bits set is no number in any of the published types.
    bytes[data + start + 2..][..2].fill(0xff);
    let folder = pocket_folder();
    fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
    let (scene, model, out) = (&*desk.scene(), folder.path().to_str().unwrap(), &*desk.name("out"));
    let parts = ["cannot pack", QUERY, "model.safetensors", "row 0, column 1 is NaN"];
    for format in FORMATS {
        refuses(&["caption", scene, "--model", model, "--dtype", format], &parts);
        refuses(&["convert", "--model", model, "--dtype", format, "--out", out], &parts);
    }
    let left = fs::read_dir(out).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing is half-written");
}
