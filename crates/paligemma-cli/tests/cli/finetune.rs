//! `finetune`: data in, a model that answers with it out; runs that end early, and bad input.

use std::fs;

use serde_json::{Value, json as value};

use crate::support::{Desk, edit, json, paligemma, pocket_folder, prints, refuses};

/// Something to say of the scene that the embedded model would not.
const ANSWER: &str = "no red circle here";

fn data(desk: &Desk) -> String {
    let row = value!({"image": "scene.png", "prefix": "caption en", "suffix": ANSWER});
    desk.file("train.jsonl", format!("{row}\n").as_bytes())
}

/// Trains quietly, since progress goes to the standard error.
fn train(words: &[&str]) {
    let output = paligemma().arg("finetune").args(words).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(output.stdout.is_empty() && told.contains("numbers are trained"), "{told}");
}

#[test]
fn a_model_answers_with_what_it_learnt() {
    let desk = Desk::new();
    let (file, out) = (data(&desk), desk.name("run"));
    let recipe = ["--epochs", "60", "--batch-size", "1", "--lr", "1e-3"];
    let data = ["--data", &file, "--eval", &file, "--metric", "exact", "--out", &out];
    train(&[&data[..], &recipe].concat());
    assert_eq!(prints(&["caption", &desk.scene(), "--model", &out]).trim(), ANSWER);

    let log = fs::read_to_string(desk.path("run/metrics.jsonl")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let losses: Vec<f64> = lines.iter().filter_map(|line| line["eval_loss"].as_f64()).collect();
    assert_eq!(losses.len(), 60);
    assert!(losses[59] < 0.1 * losses[0], "{losses:?}");
    let scores: Vec<f64> = lines.iter().filter_map(|line| line["eval_score"].as_f64()).collect();
    assert_eq!((scores.len(), scores[0], scores[59]), (60, 0.0, 1.0), "{scores:?}");
    let curves = fs::read_to_string(desk.path("run/loss.svg")).unwrap();
    assert!(curves.starts_with("<svg") && curves.contains("score"));

    let scored = json(&["eval", "--model", &out, "--data", &file, "--metric", "exact"]);
    assert_eq!(scored["summary"], 1.0);
    // A run that is done has nothing left to do, and its folder is not begun again.
    train(&["--resume", &out]);
    for more in [["--epochs", "70"], ["--device", "flex"], ["--resolution", "56"]] {
        let output = paligemma().args(["finetune", "--resume", &out]).args(more).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("cannot be used with") && said.contains(more[0]), "{said}");
    }
    refuses(&["finetune", "--data", &file, "--out", &out], &["holds a run", "--resume"]);
}

#[test]
fn a_run_remembers_its_model_as_it_was_asked_for() {
    let desk = Desk::new();
    let (file, out, base) = (data(&desk), desk.name("run"), pocket_folder());
    let base = base.path().to_str().unwrap();
    let words = ["--data", &file, "--out", &out, "--model", base, "--resolution", "56"];
    let recipe = ["--resample", "bicubic", "--epochs", "1", "--batch-size", "1", "--lora", "2"];
    train(&[&words[..], &recipe].concat());
    let read = || -> Value {
        serde_json::from_slice(&fs::read(desk.path("run/run.json")).unwrap()).unwrap()
    };
    assert_eq!((&read()["resolution"], &read()["resample"]), (&value!(56), &value!("bicubic")));
    train(&["--resume", &out]);
    // Its data is found from everywhere.
    let data = read()["settings"]["data"].as_str().unwrap().to_owned();
    assert!(std::path::Path::new(&data).is_absolute(), "{data}");
    // And it is what a run that is taken up looks at.
    edit(&desk.path("run/run.json"), |run| run["resolution"] = 57.into());
    refuses(&["finetune", "--resume", &out], &["image_size is 57"]);
}

#[test]
fn adapters_are_kept_beside_their_base_and_merge_into_it() {
    let desk = Desk::new();
    let (file, out, merged) = (data(&desk), desk.name("run"), desk.name("merged"));
    let recipe = ["--epochs", "40", "--batch-size", "1", "--lr", "1e-2", "--lora", "8"];
    train(&[&["--data", &file, "--out", &out, "--dtype", "int8"][..], &recipe].concat());
    assert_eq!(prints(&["caption", &desk.scene(), "--model", &out]).trim(), ANSWER);
    prints(&["export", "--model", &out, "--merge", "--out", &merged]);
    assert_eq!(prints(&["caption", &desk.scene(), "--model", &merged]).trim(), ANSWER);
}

#[test]
fn a_recipe_is_what_a_run_does_unless_told_otherwise() {
    let desk = Desk::new();
    let (file, out) = (data(&desk), desk.name("run"));
    let words = ["--data", &file, "--out", &out, "--preset", "gqa", "--batch-size", "1"];
    train(&words);
    let asked: Value =
        serde_json::from_slice(&fs::read(desk.path("run/run.json")).unwrap()).unwrap();
    let settings = &asked["settings"];
    assert_eq!((settings["epochs"].as_u64(), settings["batch_size"].as_u64()), (Some(1), Some(1)));
    assert_eq!(settings["learning_rate"], 1e-5);
}

#[test]
fn what_cannot_be_trained_is_told() {
    let desk = Desk::new();
    let (file, out) = (data(&desk), desk.name("run"));
    let new = |more: &[&str], parts: &[&str]| {
        refuses(&[&["finetune", "--data", &file, "--out", &out][..], more].concat(), parts);
        assert!(!fs::exists(&out).unwrap(), "a refused run leaves its folder");
    };
    new(&["--lr", "0"], &["the rate is 0", "above 0"]);
    new(&["--epochs", "0"], &["number of epochs", "at least 1"]);
    new(&["--preset", "gqq"], &["gqq", "gqa"]);
    new(&["--train", "vision_towers"], &["vision_towers", "vision_tower"]);
    let nothing = paligemma().args(["finetune", "--out", &out]).output().unwrap();
    let told = String::from_utf8(nothing.stderr).unwrap();
    assert!(!nothing.status.success() && told.contains("--data"), "{told}");
    new(&["--train", "full", "--lora", "4"], &["full", "--lora", "q_proj"]);
    new(&["--dtype", "int8"], &["int8"]);
    new(&["--eval", &file, "--metric", "map"], &["map", "boxes"]);
    new(&["--text-length", "3"], &["example 1", "more than 3"]);
    let nowhere = desk.name("nowhere");
    refuses(&["finetune", "--resume", &nowhere], &["run.json"]);
    let begun = desk.name("begun");
    fs::create_dir(&begun).unwrap();
    fs::write(desk.path("begun/run.json"), "{}").unwrap();
    refuses(&["caption", &desk.scene(), "--model", &begun], &["has no checkpoint yet"]);
    let missing = desk.name("missing.jsonl");
    refuses(&["finetune", "--data", &missing, "--out", &out], &["missing.jsonl"]);
    assert!(!fs::exists(&out).unwrap());
    // A folder that was there before stays.
    fs::create_dir(&out).unwrap();
    let words = ["finetune", "--data", &file, "--out", &out, "--text-length", "3"];
    refuses(&words, &["example 1", "more than 3"]);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
}

#[test]
fn a_run_and_its_export_segment_with_the_masks_of_their_base() {
    let (desk, base) = (Desk::new(), pocket_folder());
    let masks = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/masks/vae.npz");
    fs::copy(masks, base.path().join("vae-oid.npz")).unwrap();
    let base = base.path().to_str().unwrap();
    let file = data(&desk);
    let [full, lora, merged, packed] =
        ["full", "lora", "merged", "packed"].map(|name| desk.name(name));
    let recipe = ["--model", base, "--data", &file, "--epochs", "1", "--batch-size", "1"];
    train(&[&recipe[..], &["--lr", "1e-6", "--out", &full]].concat());
    train(&[&recipe[..], &["--lr", "1e-6", "--lora", "2", "--out", &lora]].concat());
    prints(&["export", "--model", &lora, "--merge", "--out", &merged]);
    prints(&["convert", "--model", base, "--dtype", "bf16", "--out", &packed]);
    for model in [base, &full, &lora, &merged, &packed] {
        let words = ["segment", &desk.scene(), "red square", "--constrained", "--model", model];
        assert!(!prints(&words).is_empty(), "{model}");
    }
}

/// The losses of a run's steps.
#[cfg(feature = "distributed")]
fn losses(desk: &Desk, run: &str) -> Vec<f64> {
    let log = fs::read_to_string(desk.path(&format!("{run}/metrics.jsonl"))).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line["loss"].as_f64()).collect()
}

#[cfg(feature = "distributed")]
#[test]
fn two_workers_train_as_one() {
    let desk = Desk::new();
    let rows = ["no red circle here", "nothing", "a house"].map(|suffix| {
        value!({"image": "scene.png", "prefix": "caption en", "suffix": suffix}).to_string() + "\n"
    });
    let file = desk.file("train.jsonl", rows.concat().as_bytes());
    let [one, two] = ["one", "two"].map(|run| desk.name(run));
    let recipe = ["--data", &file, "--epochs", "2", "--batch-size", "2", "--lr", "1e-4"];
    train(&[&recipe[..], &["--out", &one]].concat());
    train(&[&recipe[..], &["--out", &two, "--workers", "2"]].concat());

    let whole = losses(&desk, "one");
    assert_eq!(whole.len(), 3);
    let parts = losses(&desk, "two");
    assert_eq!(parts.len(), whole.len());
    let close = whole.iter().zip(&parts).all(|(a, b)| (a - b).abs() < 1e-4 * a);
    assert!(close, "{parts:?}, and alone {whole:?}");
}
