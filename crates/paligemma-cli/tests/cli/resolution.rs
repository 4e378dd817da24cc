//! `--resolution`: pictures of another size, in every verb that takes a model.

use std::fs;

use serde_json::Value;

use crate::support::{Desk, edit, json, paligemma, pocket_folder, prints, refuses};

#[test]
fn image_tokens_and_sizes_follow() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    let tokens = |words: &[&str]| {
        let answer = json(&[&["caption", scene], words].concat());
        answer["usage"]["image_tokens"].as_u64().unwrap()
    };
    let own = tokens(&[]);
    assert_eq!(tokens(&["--resolution", "112"]), own);
    assert_eq!(tokens(&["--resolution", "168"]), own * 9 / 4);
    assert_eq!(tokens(&["--resolution", "168", "--resample", "bicubic"]), own * 9 / 4);
    let info = json(&["info", "--resolution", "168"]);
    assert_eq!(info["config"]["vision_config"]["image_size"], 168);
    assert!(info["problems"].as_array().unwrap().is_empty(), "{info}");
    assert_eq!(json(&["verify", "--resolution", "56"])["sound"], true);
}

#[test]
fn its_own_resolution_changes_nothing() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    assert_eq!(prints(&["caption", scene, "--resolution", "112"]), prints(&["caption", scene]));
}

#[test]
fn a_converted_model_has_the_new_resolution() {
    let desk = Desk::new();
    let folder = pocket_folder();
    let settings = folder.path().join("preprocessor_config.json");
    fs::write(&settings, "{}").unwrap();
    edit(&settings, |file| file["size"] = 112.into());
    let (model, out) = (folder.path().to_str().unwrap(), &*desk.name("larger"));
    prints(&["convert", "--model", model, "--dtype", "int8", "--resolution", "168", "--out", out]);
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(desk.path("larger").join(name)).unwrap()).unwrap()
    };
    assert_eq!(read("config.json")["vision_config"]["image_size"], 168);
    assert_eq!(read("preprocessor_config.json")["size"]["height"], 168);
    let scene = &*desk.scene();
    let answer = |words: &[&str]| json(&[&["caption", scene, "--model"], words].concat());
    let converted = answer(&[out]);
    let direct = answer(&[model, "--dtype", "int8", "--resolution", "168"]);
    assert_eq!(converted["token_ids"], direct["token_ids"]);
    assert_eq!(converted["usage"], direct["usage"]);
}

#[test]
fn what_is_no_resolution_is_refused() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    let other = ["caption", scene, "--resolution", "113"];
    refuses(&other, &["image_size is 113", "a multiple of patch_size"]);
    // More patches than the embedded model has positions.
    let large = ["caption", scene, "--resolution", "322"];
    refuses(&large, &["image_size is 322", "529 patches", "512 positions"]);
    for words in [["--resample", "bicubic"], ["--resolution", "large"]] {
        let output = paligemma().args(["caption", scene]).args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}
