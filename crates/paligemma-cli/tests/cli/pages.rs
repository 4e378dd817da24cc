//! `pages`: the embedded model with a head of its own is a ColPali.

use std::fs;
use std::path::Path;

use paligemma::pocket;
use serde_json::{Map, Value, json as object};

use crate::support::{
    Desk, header, json, keys, paligemma, pocket_folder, prints, refuses, write_adapter_of,
};

const WIDTH: usize = 4;

/// Makes a ColPali of the embedded model's folder: other names, and a head of simple numbers.
fn colpali(folder: &Path) {
    let (names, start) = header();
    let mut data = pocket::WEIGHTS[start..].to_vec();
    let prefixed = names.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__");
    let mut tensors: Map<String, Value> =
        prefixed.map(|(name, tensor)| (format!("vlm.{name}"), tensor.clone())).collect();
    let config: Value = serde_json::from_str(pocket::CONFIG).unwrap();
    let hidden = usize::try_from(config["text_config"]["hidden_size"].as_u64().unwrap()).unwrap();
    for (name, shape) in [("weight", vec![WIDTH, hidden]), ("bias", vec![WIDTH])] {
        let begin = data.len();
        let count: usize = shape.iter().product();
        data.extend((0..count).flat_map(|at| ((at % 7) as f32 - 3.0).to_le_bytes()));
        let offsets = [begin, data.len()];
        let tensor = object!({"dtype": "F32", "shape": shape, "data_offsets": offsets});
        tensors.insert(format!("embedding_proj_layer.{name}"), tensor);
    }
    let head = Value::from(tensors).to_string();
    let length = (head.len() as u64).to_le_bytes();
    let file = [&length[..], head.as_bytes(), &data].concat();
    fs::write(folder.join("model.safetensors"), file).unwrap();
    let config = object!({"model_type": "colpali", "vlm_config": config, "embedding_dim": WIDTH});
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
}

#[test]
fn pages_are_ordered_by_their_scores() {
    let desk = Desk::new();
    let folder = pocket_folder();
    colpali(folder.path());
    let model = folder.path().to_str().unwrap();
    let other = &*desk.name("other.png");
    fs::copy(desk.scene(), other).unwrap();
    let white = paligemma::image::RgbImage::from_pixel(50, 50, paligemma::image::Rgb([255; 3]));
    white.save(desk.path("white.png")).unwrap();
    let (scene, white) = (&*desk.scene(), &*desk.name("white.png"));
    let words = ["pages", scene, white, other, "--text", "a red square", "--model", model];
    let found = json(&words);
    assert_eq!(keys(&found), ["failed", "pages", "text"]);
    let pages = found["pages"].as_array().unwrap();
    let score = |at: usize| pages[at]["score"].as_f64().unwrap();
    assert!(score(0) >= score(1) && score(1) >= score(2), "{found}");
    // Equal pages score alike, and another one does not.
    let of = |name: &str| pages.iter().find(|page| page["image"] == name).unwrap()["score"].clone();
    assert_eq!(of(scene), of(other));
    assert_ne!(of(scene), of(white));
    assert_eq!(prints(&words).lines().count(), 3);
}

#[test]
fn a_page_that_cannot_be_read_is_left_out() {
    let desk = Desk::new();
    let folder = pocket_folder();
    colpali(folder.path());
    let (scene, bad) = (&*desk.scene(), &*desk.file("bad.png", b"no picture"));
    let model = folder.path().to_str().unwrap();
    let words = ["pages", bad, scene, "--text", "a red square", "--model", model];
    let output = paligemma().args(words).arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("bad.png"), "{output:?}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["pages"][0]["image"], scene);
    assert_eq!(found["failed"][0]["picture"], bad);
    let gone = &*desk.name("gone.png");
    refuses(&["pages", gone, "--text", "a", "--model", "no-such-model"], &["gone.png"]);
}

#[test]
fn an_adapter_of_a_colpali_counts() {
    let desk = Desk::new();
    let folder = pocket_folder();
    colpali(folder.path());
    let (base, adapter) = (folder.path().to_str().unwrap(), &*desk.name("adapter"));
    write_adapter_of("vlm.language_model.model", &desk.path("adapter"), base);
    let score = |model: &[&str]| {
        let words = ["pages", &desk.scene(), "--text", "a red square", "--dtype", "f32"];
        json(&[&words[..], model].concat())["pages"][0]["score"].as_f64().unwrap()
    };
    let expected = score(&["--model", adapter]);
    assert!((score(&["--model", base]) - expected).abs() > 1e-3, "the adapter changes something");
    assert!((score(&["--model", adapter, "--base", base]) - expected).abs() < 1e-9);
    let merged = &*desk.name("merged");
    prints(&["export", "--model", adapter, "--merge", "--dtype", "f32", "--out", merged]);
    assert!((score(&["--model", merged]) - expected).abs() < 1e-3);
}

#[test]
fn a_colpali_is_verified() {
    let folder = pocket_folder();
    colpali(folder.path());
    let model = folder.path().to_str().unwrap();
    let verdict = json(&["verify", "--model", model]);
    assert_eq!(verdict["sound"], true, "{verdict}");
    let checks = verdict["checks"].as_array().unwrap();
    let found = |name: &str| {
        let check = checks.iter().find(|check| check["name"] == name).unwrap();
        check["found"].as_str().unwrap().to_owned()
    };
    assert!(found("configuration").starts_with("ColPali on "));
    assert!(found("self-test").starts_with("a page has "));
    let other = ["info", "--model", model, "--resolution", "168"];
    refuses(&other, &["is a ColPali", "leave --resolution out"]);
}

#[test]
fn what_is_no_colpali_is_refused() {
    let desk = Desk::new();
    let folder = pocket_folder();
    let (scene, model) = (&*desk.scene(), folder.path().to_str().unwrap());
    let words = ["pages", scene, "--text", "a", "--model", model];
    refuses(&words[..4], &["embedded is no ColPali"]);
    refuses(&words, &["`paligemma`, expected `colpali`"]);
    colpali(folder.path());
    refuses(&["caption", scene, "--model", model], &["`colpali`, expected `paligemma`"]);
    refuses(&["pages", scene, "--text", " ", "--model", model], &["query"]);
}

#[test]
fn a_colpali_in_another_format_scores_as_before() {
    let desk = Desk::new();
    let folder = pocket_folder();
    colpali(folder.path());
    let scene = &*desk.scene();
    let score = |model: &str| {
        let found = json(&["pages", scene, "--text", "a red square", "--model", model]);
        found["pages"][0]["score"].as_f64().unwrap()
    };
    let mut model = folder.path().to_str().unwrap().to_owned();
    let expected = score(&model);
    for format in ["safetensors", "pytorch", "burnpack"] {
        let out = desk.name(format);
        prints(&["convert", "--model", &model, "--format", format, "--out", &out]);
        assert!((score(&out) - expected).abs() < 1e-12, "{format}");
        model = out;
    }
    let back = desk.name("back");
    prints(&["convert", "--model", &model, "--format", "safetensors", "--out", &back]);
    let weights = |folder: &str| fs::read(Path::new(folder).join("model.safetensors")).unwrap();
    assert!(weights(&back) == weights(&desk.name("safetensors")));

    let info = json(&["info", "--model", &back]);
    assert_eq!(info["embedding_dim"], WIDTH);
    assert_eq!(
        (&info["weights"]["layout"], &info["problems"]),
        (&object!("ColPali of transformers 4"), &object!([]))
    );

    let packed = desk.name("packed");
    prints(&["convert", "--model", &model, "--dtype", "int8", "--out", &packed]);
    let words = ["pages", scene, "--text", "a red square", "--model", &model, "--dtype", "int8"];
    let at_once = json(&words)["pages"][0]["score"].as_f64().unwrap();
    assert!((score(&packed) - at_once).abs() < 1e-12);

    let npz = &*desk.name("npz");
    let words = ["convert", "--model", &model, "--format", "npz", "--out", npz];
    refuses(&words, &["big_vision's npz has no array for `", "choose another format"]);
    assert!(!Path::new(npz).exists());
}
