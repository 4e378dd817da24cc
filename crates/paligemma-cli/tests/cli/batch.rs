//! Many pictures: results in a file, interrupts, bad rows.

use std::fs;

use serde_json::{Value, json as value};

use crate::support::{Desk, assert_one_error, json, paligemma, prints, refuses};

/// A desk with five pictures in a folder, one of them bad.
fn desk() -> Desk {
    let desk = Desk::new();
    fs::create_dir_all(desk.path("in/more")).unwrap();
    for name in ["in/1.png", "in/2.png", "in/10.png", "in/more/3.png"] {
        fs::copy(desk.path("scene.png"), desk.path(name)).unwrap();
    }
    desk.file("in/9.jpg", b"no picture");
    desk
}

fn lines(desk: &Desk, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(desk.path(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn batch(desk: &Desk, out: &str, more: &[&str]) -> Vec<String> {
    let words = ["batch", &desk.name("in"), "--prompt", "caption en", "--out", &desk.name(out)];
    words.iter().chain(more).map(|&word| word.to_owned()).collect()
}

#[test]
fn every_picture_has_a_row() {
    let desk = desk();
    let words = batch(&desk, "out.jsonl", &["--batch-size", "2", "--json"]);
    let output = paligemma().args(&words).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let out = desk.name("out.jsonl");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary, value!({"rows": 5, "answered": 4, "failed": 1, "out": out}));
    let note = String::from_utf8(output.stderr).unwrap();
    assert!(note.starts_with("1 of 5 rows have no answer") && note.lines().count() == 1, "{note}");

    let rows = lines(&desk, "out.jsonl");
    let ids: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["1.png", "2.png", "9.jpg", "10.png", "more/3.png"]);
    assert_eq!(rows[2]["image"], desk.name("in/9.jpg"));
    assert!(rows[2]["error"].as_str().unwrap().contains("not a picture"));
    let alone = json(&["caption", &desk.scene()]);
    for row in [&rows[0], &rows[1], &rows[3], &rows[4]] {
        for field in ["text", "token_ids", "finish_reason"] {
            assert_eq!(row[field], alone[field], "{row}");
        }
    }
}

#[test]
fn boxes_are_those_of_detect() {
    let desk = Desk::new();
    let (scene, out) = (&*desk.scene(), &*desk.name("out.jsonl"));
    let words = ["batch", scene, "--prompt", "detect red square ; blue square", "--out", out];
    prints(&words);
    let row = &lines(&desk, "out.jsonl")[0];
    let alone = json(&["detect", scene, "red square ; blue square"]);
    assert!(!alone["boxes"].as_array().unwrap().is_empty());
    assert_eq!(row["boxes"], alone["boxes"]);
    assert_eq!((&row["width"], &row["height"]), (&value!(150), &value!(100)));
    let words = ["batch", scene, "--prompt", "caption en", "--out", &desk.name("other.jsonl")];
    prints(&words);
    assert!(lines(&desk, "other.jsonl")[0].get("boxes").is_none());
}

#[test]
fn bad_rows_are_tried_again() {
    let desk = desk();
    let run = |more: &[&str]| {
        let words = batch(&desk, "out.jsonl", more);
        paligemma().args(&words).output().unwrap()
    };
    assert!(run(&[]).status.success());
    let before = lines(&desk, "out.jsonl");
    fs::copy(desk.path("scene.png"), desk.path("in/9.jpg")).unwrap();
    let output = run(&["--resume", "--strict"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let after = lines(&desk, "out.jsonl");
    assert_eq!(after[2]["text"], after[0]["text"]);
    for row in [0, 1, 3, 4] {
        assert_eq!(after[row], before[row]);
    }
}

#[test]
fn rows_may_ask_for_themselves() {
    let desk = desk();
    let long = "red circle ".repeat(600);
    let rows = [
        value!({"image": "in/1.png", "prompt": "answer en what is red?"}),
        value!({"images": ["in/1.png", "in/2.png"], "id": "pair"}),
        value!({"image": "in/1.png", "prompt": long}),
        value!({"image": "in/1.png"}),
    ];
    let text: Vec<String> = rows.iter().map(Value::to_string).collect();
    let source = &*desk.file("rows.jsonl", text.join("\n").as_bytes());
    let out = &*desk.name("out.jsonl");
    prints(&["batch", source, "--prompt", "ocr", "--out", out]);
    let results = lines(&desk, "out.jsonl");
    let (scene, one) = (desk.scene(), |name: &str| desk.name(name));
    let expected = |words: &[&str]| prints(words).trim_end_matches('\n').to_owned();
    assert_eq!(results[0]["text"], expected(&["ask", &scene, "what is red?"]));
    let pair = expected(&["generate", &one("in/1.png"), &one("in/2.png"), "--prompt", "ocr"]);
    assert_eq!(results[1]["text"], pair);
    assert!(results[2]["error"].as_str().unwrap().contains("the model's limit is 512"));
    assert_eq!(results[3]["text"], expected(&["ocr", &scene]));
    refuses(&["batch", source, "--out", &one("other.jsonl")], &["`pair` has no prompt"]);
}

#[test]
fn what_is_cut_off_is_resumed() {
    let desk = desk();
    let run = |more: &[&str]| {
        prints(&batch(&desk, "out.parquet", more).iter().map(String::as_str).collect::<Vec<_>>())
    };
    run(&[]);
    let [table, rows] = ["out.parquet", "out.parquet.jsonl"].map(|name| desk.path(name));
    let whole = (fs::read(&table).unwrap(), fs::read(&rows).unwrap());
    assert!(whole.0.starts_with(b"PAR1") && whole.0.ends_with(b"PAR1"));
    fs::remove_file(&table).unwrap();
    fs::write(&rows, &whole.1[..whole.1.len() / 2]).unwrap();
    run(&["--resume"]);
    assert!((fs::read(&table).unwrap(), fs::read(&rows).unwrap()) == whole);
    let again = batch(&desk, "out.parquet", &[]);
    let output = paligemma().args(&again).output().unwrap();
    assert_one_error(&output, &["is there already", "--resume"]);
    let other = batch(&desk, "out.parquet", &["--resume", "--max-new-tokens", "3"]);
    assert_one_error(&paligemma().args(&other).output().unwrap(), &["begun with other options"]);
}

#[test]
#[cfg(unix)]
fn an_interrupt_leaves_whole_rows() {
    let desk = desk();
    for copy in 11..400 {
        fs::copy(desk.path("scene.png"), desk.path(&format!("in/{copy}.png"))).unwrap();
    }
    let words = batch(&desk, "out.jsonl", &["--batch-size", "1", "--threads", "1"]);
    let mut child = paligemma().args(&words).stderr(std::process::Stdio::piped()).spawn().unwrap();
    while !desk.path("out.jsonl").metadata().is_ok_and(|file| file.len() > 0) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was interrupted");
        std::thread::yield_now();
    }
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    let done = lines(&desk, "out.jsonl").len();
    let expected = format!("error: interrupted, {done} of 394 rows are done: ");
    assert!(said.starts_with(&expected) && said.contains("--resume"), "{said}");
    assert!(said.lines().count() == 1 && done > 0, "{said}");
}

#[test]
fn parts_are_disjoint() {
    let desk = desk();
    let ids = |part: &str| {
        let out = format!("{}.jsonl", part.replace('/', "of"));
        let words = batch(&desk, &out, &["--shard", part]);
        prints(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let rows = lines(&desk, &out);
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids("1/2"), ["1.png", "9.jpg", "more/3.png"]);
    assert_eq!(ids("2/2"), ["2.png", "10.png"]);
    let wrong = batch(&desk, "out.jsonl", &["--shard", "3/2"]);
    assert_eq!(paligemma().args(&wrong).output().unwrap().status.code(), Some(2));
}

#[test]
fn failures_are_counted_as_asked() {
    let desk = desk();
    let strict = batch(&desk, "strict.jsonl", &["--strict"]);
    let output = paligemma().args(&strict).output().unwrap();
    assert_one_error(&output, &["1 of 5 rows have no answer", "strict.jsonl"]);
    assert_eq!(lines(&desk, "strict.jsonl").len(), 5, "the other rows are there");
    let (bad, out) = (desk.name("in/9.jpg"), desk.name("bad.jsonl"));
    refuses(&["batch", &bad, "--prompt", "ocr", "--out", &out], &["1 of 1 rows have no answer"]);
}

#[test]
fn what_cannot_be_done_is_said_before_the_model_is_opened() {
    let desk = desk();
    let refused = |words: &[&str], parts: &[&str]| {
        refuses(&[&["batch"], words, &["--model", "no/model"]].concat(), parts);
    };
    let (folder, out) = (&*desk.name("in"), &*desk.name("out.jsonl"));
    refused(&[folder, "--out", out], &["`1.png` has no prompt"]);
    refused(&[folder, "--prompt", " ", "--out", out], &["the prompt is empty"]);
    refused(&[folder, "--prompt", "ocr", "--out", "a.csv"], &[".jsonl or .parquet"]);
    refused(&["no*such", "--prompt", "ocr", "--out", out], &["no picture is in `no*such`"]);
    let scene = &*desk.file("there.jsonl", b"");
    refused(&[folder, "--prompt", "ocr", "--out", scene], &["is there already"]);
    assert!(!desk.path("out.jsonl").exists() && !desk.path("out.jsonl.job").exists());
}
