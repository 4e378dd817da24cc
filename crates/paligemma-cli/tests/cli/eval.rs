//! Data answered and scored: tables, files, the page of the worst, and data that does not suit.

use std::fs;

use serde_json::{Value, json as value};

use crate::support::{Desk, json, pocket_folder, prints, refuses};

/// Rows about the scene, as a file of data.
fn data(desk: &Desk, name: &str, rows: &[Value]) -> String {
    let lines: Vec<String> = rows.iter().map(ToString::to_string).collect();
    let lines = lines.join("\n");
    desk.file(name, lines.as_bytes())
}

/// What the embedded model answers to a prompt about the scene.
fn answer(desk: &Desk, prompt: &str) -> String {
    let printed = json(&["generate", &desk.scene(), "--prompt", prompt]);
    printed["text"].as_str().unwrap().to_owned()
}

fn row(prefix: &str, suffix: &str) -> Value {
    value!({"image": "scene.png", "prefix": prefix, "suffix": suffix})
}

#[test]
fn answers_are_scored_and_kept() {
    let desk = Desk::new();
    let caption = answer(&desk, "caption en");
    let wrong = "no <b>such</b> & thing";
    let rows = [row("caption en", &caption), row("caption en", wrong), row("caption en", &caption)];
    let file = data(&desk, "test.jsonl", &rows);
    let out = desk.name("scores");
    let words = ["eval", "--data", &file, "--metric", "exact", "--batch-size", "2"];
    // Rows are read before the model is opened, on the threads that were asked for.
    let printed = json(&[&words[..], &["--out", &out, "--threads", "1"]].concat());
    assert_eq!((printed["metric"].as_str(), printed["rows"].as_u64()), (Some("exact"), Some(3)));
    assert!((printed["summary"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-12, "{printed}");
    let kept: Value =
        serde_json::from_slice(&fs::read(desk.path("scores/eval.json")).unwrap()).unwrap();
    assert_eq!(kept["summary"], printed["summary"]);
    let scores: Vec<f64> = kept["answers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["score"].as_f64().unwrap())
        .collect();
    assert_eq!(scores, [1.0, 0.0, 1.0]);
    assert_eq!(kept["answers"][1]["answer"], value!(caption));
    let page = fs::read_to_string(desk.path("scores/worst.html")).unwrap();
    assert!(page.contains("no &lt;b&gt;such&lt;/b&gt; &amp; thing") && !page.contains("<b>"));
    let first = page.find("line 2<").unwrap();
    assert!(first < page.find("line 1<").unwrap() && page.contains("data:image/jpeg;base64,"));
    assert_eq!(fs::read_dir(desk.path("scores")).unwrap().count(), 2);
    let table = prints(&words);
    assert!(table.starts_with("exact") && table.contains("0.6667"), "{table}");
}

#[test]
fn captions_and_classes_have_their_figures() {
    let desk = Desk::new();
    let caption = answer(&desk, "caption en");
    let other = row("caption en", "a dog on a sofa");
    let file = data(&desk, "test.jsonl", &[row("caption en", &caption), other]);
    let bleu = json(&["eval", "--data", &file, "--metric", "bleu4"]);
    assert!(bleu["figures"]["bleu1"].as_f64() >= bleu["figures"]["bleu4"].as_f64(), "{bleu}");
    let classes = json(&["eval", "--data", &file, "--metric", "accuracy"]);
    assert_eq!(classes["summary"], value!(0.5));
    assert_eq!(classes["confusion"]["labels"].as_array().unwrap().len(), 2);
}

#[test]
fn boxes_and_masks_are_compared_in_the_picture() {
    let desk = Desk::new();
    for (prompt, metrics) in
        [("detect red square", &["map", "box-accuracy"][..]), ("segment red square", &["miou"][..])]
    {
        let said = answer(&desk, prompt);
        assert!(said.contains("<loc"), "{said}");
        let file = data(&desk, "test.jsonl", &[row(prompt, &said)]);
        for metric in metrics {
            let out = desk.name("scores");
            let scored = json(&["eval", "--data", &file, "--metric", metric, "--out", &out]);
            // The model's own answer is expected, so that all of it is right.
            assert!((scored["summary"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{scored}");
            let page = fs::read_to_string(desk.path("scores/worst.html")).unwrap();
            assert_eq!(page.matches("<figure>").count(), 3);
        }
    }
}

#[test]
fn data_that_does_not_suit_is_refused() {
    let desk = Desk::new();
    let file = data(&desk, "test.jsonl", &[row("caption en", "a cat")]);
    let eval = |metric: &str, says: &[&str]| {
        refuses(&["eval", "--data", &file, "--metric", metric], says);
    };
    eval("vqa", &["vqa needs at least 4 references", "example 1 has 1"]);
    eval("map", &["map compares boxes with labels", "line 1", "a cat"]);
    eval("miou", &["miou compares masks", "line 1"]);
    refuses(&["eval", "--data", "no.jsonl", "--metric", "exact"], &["cannot read no.jsonl"]);
    let empty = desk.file("empty.jsonl", b"\n");
    refuses(&["eval", "--data", &empty, "--metric", "exact"], &["holds no example"]);
    let out = desk.name("no/scores");
    refuses(&["eval", "--data", &file, "--metric", "exact", "--out", &out], &["no such folder"]);
    let said = answer(&desk, "segment red square");
    let masks = data(&desk, "masks.jsonl", &[row("segment red square", &said)]);
    let folder = pocket_folder();
    let model = folder.path().to_str().unwrap();
    let words = ["eval", "--data", &masks, "--metric", "miou", "--model", model];
    refuses(&words, &["--mask-model"]);
}

#[test]
fn unknown_metrics_are_told_the_known_ones() {
    let words = ["eval", "--data", "test.jsonl", "--metric", "meteor"];
    let output = crate::support::paligemma().args(words).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("unknown metric `meteor`: use one of exact, exact-lower, vqa"), "{said}");
}
