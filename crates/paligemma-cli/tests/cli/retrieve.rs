//! `classify`, `match`, `rank`, `embed`, `index` and `search`.

use std::fs;

use paligemma::{DeviceSpec, Dtype, PaliGemma};
use paligemma_processor::open_picture;
use safetensors::SafeTensors;
use serde_json::{Value, json as object};

use crate::support::{
    Desk, assert_one_error, json, keys, paligemma, pocket_folder, prints, refuses,
};

/// A large white star, a small red cross below it, and a plate that says "book".
const SCENE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/images/scene.png");
const SHAPES: [&str; 5] = ["circle", "square", "triangle", "star", "cross"];

fn with<'a>(words: &[&'a str], flag: &'a str, values: &[&'a str]) -> Vec<&'a str> {
    words.iter().copied().chain(values.iter().flat_map(|value| [flag, *value])).collect()
}

/// The members of this name, one from each object.
fn column<'a>(rows: &'a Value, name: &str) -> Vec<&'a str> {
    rows.as_array().unwrap().iter().map(|row| row[name].as_str().unwrap()).collect()
}

#[test]
fn classify_names_the_likeliest_label_first() {
    let ask = |question: &str, labels: &[&str]| {
        let template = format!("answer en what {question}?");
        let words = ["classify", SCENE, "--template", &template];
        let said = json(&with(&words, "--label", labels));
        assert_eq!(keys(&said), ["pictures"]);
        let labels = said["pictures"][0]["labels"].clone();
        let first = &labels[0];
        assert_eq!(keys(first), ["log_likelihood", "prior", "probability", "text", "tokens"]);
        let all = labels.as_array().unwrap().iter();
        let sum: f64 = all.map(|label| label["probability"].as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-4, "{labels}");
        first["text"].as_str().unwrap().to_owned()
    };
    let colours = ["red", "green", "blue", "white", "black"];
    assert_eq!(ask("color is the star", &colours), "white");
    assert_eq!(ask("shape is the white thing", &SHAPES), "star");
    assert_eq!(ask("shape is the red thing", &SHAPES), "cross");
}

#[test]
fn classify_reads_labels_from_a_file_for_several_pictures() {
    let desk = Desk::new();
    let file = desk.file("labels.txt", b"red\n\n  blue \nwhite\r\n");
    let other = desk.scene();
    let template = "answer en what color is the star?";
    let words = ["classify", SCENE, &other, "--labels-file", &file, "--template", template];
    let said = json(&[&words[..], &["--label", "black", "--calibrated", "--normalise"]].concat());
    let pictures = said["pictures"].as_array().unwrap();
    assert_eq!(column(&said["pictures"], "picture"), [SCENE, &other]);
    for picture in pictures {
        let mut labels = column(&picture["labels"], "text");
        labels.sort_unstable();
        assert_eq!(labels, ["black", "blue", "red", "white"]);
        assert!(picture["labels"][0]["prior"].is_number());
    }
    let table = prints(&[&words[..], &["--top", "1"]].concat());
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("probability  label") && lines[1].contains("white"), "{table}");
}

#[test]
fn match_and_rank_hold_texts_against_pictures() {
    let desk = Desk::new();
    let (right, wrong) = ("a large white star and a small red cross", "a small blue circle");
    let one = |text: &str| json(&["match", SCENE, text]);
    let found = one(right);
    let members = ["log_likelihood", "picture", "prior", "score", "text", "tokens"];
    assert_eq!(keys(&found), members);
    let score = |found: &Value| found["score"].as_f64().unwrap();
    let gain = found["log_likelihood"].as_f64().unwrap() - found["prior"].as_f64().unwrap();
    assert!((score(&found) - gain / found["tokens"].as_f64().unwrap()).abs() < 1e-4);
    assert!(score(&found) > score(&one(wrong)) && score(&found) > 0.0);

    let texts = json(&["rank", SCENE, "--text", wrong, "--text", right]);
    assert_eq!(column(&texts["matches"], "text"), [right, wrong]);
    let other = desk.scene();
    let pictures = json(&["rank", "--text", right, &other, SCENE]);
    assert_eq!(column(&pictures["matches"], "picture"), [SCENE, &other]);
    assert!((score(&pictures["matches"][0]) - score(&found)).abs() < 1e-4);
    let table = prints(&["rank", "--text", right, &other, SCENE]);
    assert!(table.starts_with("score") && table.contains("  with picture  without"), "{table}");
    assert!(table.lines().nth(1).unwrap().ends_with(SCENE), "{table}");
    assert_eq!(prints(&["match", SCENE, right]).lines().count(), 2);
}

#[test]
fn embed_writes_the_same_vectors_in_every_form() {
    let desk = Desk::new();
    let other = desk.scene();
    let model = PaliGemma::pocket(DeviceSpec::Auto, Dtype::Auto).unwrap();
    let pictures = [SCENE, &other].map(|path| open_picture(path.as_ref()).unwrap());
    let expected = model.embed(&pictures).unwrap().concat();

    let said = json(&["embed", SCENE, &other]);
    assert_eq!(column(&said["pictures"], "picture"), [SCENE, &other]);
    let rows = said["pictures"].as_array().unwrap().iter();
    let values = rows.flat_map(|row| row["embedding"].as_array().unwrap().clone());
    close(&values.map(|value| value.as_f64().unwrap() as f32).collect::<Vec<_>>(), &expected);
    let text = prints(&["embed", SCENE, &other]);
    assert_eq!(text.lines().count(), 2);
    let values = text.split_whitespace().map(|value| value.parse().unwrap());
    close(&values.collect::<Vec<f32>>(), &expected);

    let out = desk.name("e.safetensors");
    assert_eq!(prints(&["embed", SCENE, &other, "--out", &out]), "");
    let file = fs::read(&out).unwrap();
    let (_, header) = SafeTensors::read_metadata(&file).unwrap();
    let names = &header.metadata().as_ref().unwrap()["pictures"];
    assert_eq!(serde_json::from_str::<Value>(names).unwrap(), object!([SCENE, other]));
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let tensor = tensors.tensor("embeddings").unwrap();
    assert_eq!(tensor.shape(), [2, 128]);
    close(&floats(tensor.data()), &expected);

    let out = desk.name("e.npy");
    prints(&["embed", SCENE, &other, "--out", &out]);
    // NEP 1: a magic string, the version, the length of the header, the header, the numbers.
    let file = fs::read(&out).unwrap();
    assert_eq!(&file[..8], b"\x93NUMPY\x01\x00");
    let start = 10 + usize::from(u16::from_le_bytes([file[8], file[9]]));
    let header = String::from_utf8_lossy(&file[10..start]).replace(' ', "");
    for part in ["'descr':'<f4'", "'fortran_order':False", "'shape':(2,128,)"] {
        let other = part.replace(",)", ")");
        assert!(header.contains(part) || header.contains(&other), "{header}");
    }
    close(&floats(&file[start..]), &expected);
    assert_eq!(desk.files(), ["e.npy", "e.safetensors", "scene.png"]);
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (values, rest) = bytes.as_chunks();
    assert!(rest.is_empty());
    values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[track_caller]
fn close(ours: &[f32], expected: &[f32]) {
    assert_eq!(ours.len(), expected.len());
    // The pictures may have gone through the tower together or alone.
    assert!(ours.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5));
}

#[test]
fn index_keeps_pictures_and_search_finds_them() {
    let desk = Desk::new();
    fs::create_dir_all(desk.path("album/more")).unwrap();
    fs::copy(SCENE, desk.path("album/star.png")).unwrap();
    fs::copy(desk.scene(), desk.path("album/more/squares.png")).unwrap();
    fs::write(desk.path("album/bad.jpg"), "no picture").unwrap();
    let (album, out) = (desk.name("album"), desk.name("kept"));
    let index = ["index", &album, "--out", &out];
    let said = json(&index);
    assert_eq!(keys(&said), ["added", "failed", "removed", "unchanged"]);
    assert_eq!((&said["added"], &said["unchanged"]), (&object!(2), &object!(0)));
    assert!(said["failed"][0]["picture"].as_str().unwrap().ends_with("bad.jpg"), "{said}");
    let output = paligemma().args(index).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "2 pictures: 0 added, 2 unchanged; 0 removed, 1 left out\n");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("left out: ") && text.contains("bad.jpg: not a picture"), "{text}");

    let search = |words: &[&str]| json(&[&["search", &out][..], words].concat());
    let found = search(&["--image", SCENE]);
    assert_eq!(keys(&found["pictures"][0]), ["caption", "height", "picture", "score", "width"]);
    assert!(column(&found["pictures"], "picture")[0].ends_with("star.png"));
    let caption = column(&found["pictures"], "caption")[0].to_owned();
    assert!(caption.contains("white star"), "{caption}");
    let found = search(&["--text", &caption, "--top", "1"]);
    assert_eq!(column(&found["pictures"], "caption"), [caption.as_str()]);
    let found = search(&["--text", "star", "--shortlist", "1"]);
    assert_eq!(column(&found["pictures"], "caption"), [caption.as_str()]);
    let table = prints(&["search", &out, "--text", "a red square"]);
    assert!(table.starts_with("score  ") && table.lines().count() == 3, "{table}");
    assert!(table.lines().nth(1).unwrap().contains("squares.png"), "{table}");
    let output = paligemma().args(["search", &out, "--text", "zebra", "--shortlist", "1"]).output();
    let output = output.unwrap();
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--shortlist"));
}

#[test]
fn an_index_of_another_model_is_refused() {
    let desk = Desk::new();
    fs::create_dir(desk.path("album")).unwrap();
    fs::copy(SCENE, desk.path("album/star.png")).unwrap();
    let (album, out) = (desk.name("album"), desk.name("kept"));
    prints(&["index", &album, "--out", &out]);
    let other = pocket_folder();
    let same = other.path().to_str().unwrap();
    assert_eq!(prints(&["search", &out, "--image", SCENE, "--model", same]).lines().count(), 2);
    let weights = other.path().join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    refuses(&["search", &out, "--image", SCENE, "--model", same], &["another model"]);
    refuses(&["index", &album, "--out", &out, "--model", same], &["another model"]);
    fs::write(desk.path("kept/pictures-000001.safetensors"), "garbage").unwrap();
    refuses(&["search", &out, "--image", SCENE], &["pictures-000001", "damaged"]);
    refuses(&["search", &album, "--text", "star"], &["holds no index", "paligemma index"]);
    refuses(&["search", &desk.name("none"), "--text", "star"], &["holds no index"]);
}

/// What is printed, after a look at the status and at a line of error for `bad.png` and another.
fn with_two_bad(words: &[&str], other: &str) -> String {
    let output = paligemma().args(words).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    let [first, second] = lines[..] else { panic!("{said}") };
    assert!(first.starts_with("error: ") && first.contains("bad.png: not a picture"), "{said}");
    assert!(second.starts_with("error: ") && second.contains(other), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_bad_picture_leaves_the_others() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    let bad = &*desk.file("bad.png", b"no picture");
    let missing = "no/such.png";
    let run = |words: &[&str]| with_two_bad(words, missing);
    let said = |words: &[&str]| -> Value {
        serde_json::from_str(&run(&[words, &["--json"]].concat())).unwrap()
    };
    let without = |words: &[&str]| json(&[words, &[SCENE, scene]].concat());
    let errors = |pictures: &Value| {
        assert_eq!(column(pictures, "picture"), [bad, missing]);
        assert!(column(pictures, "error")[0].contains("not a picture"), "{pictures}");
    };

    let four = [SCENE, bad, missing, scene];
    for (words, member) in [
        (&["classify", "--label", "red", "--label", "white"][..], "labels"),
        (&["embed"], "embedding"),
    ] {
        let (all, good) = (said(&[words, &four].concat()), without(words));
        let rows = all["pictures"].as_array().unwrap();
        assert_eq!(column(&all["pictures"], "picture"), four);
        let mut members = keys(&rows[0]);
        members.sort_unstable_by_key(|name| *name == "picture");
        assert_eq!(members, [member, "picture"]);
        assert!(rows[1..3].iter().all(|row| keys(row) == ["error", "picture"]), "{all}");
        errors(&Value::from(rows[1..3].to_vec()));
        if member == "labels" {
            assert_eq!((&rows[0], &rows[3]), (&good["pictures"][0], &good["pictures"][1]));
        }
    }
    let rank = ["rank", "--text", "a large white star"];
    let (all, good) = (said(&[&rank[..], &four].concat()), without(&rank));
    assert_eq!(all["matches"], good["matches"]);
    assert_eq!(good["failed"], object!([]));
    errors(&all["failed"]);

    let table = run(&[&["classify", "--label", "red", "--label", "white"], &four[..]].concat());
    assert_eq!(table.lines().count(), 5, "{table}");
    let lines = run(&[&["embed"], &four[..]].concat());
    let is_none = |line: &str| line.split(' ').all(|value| value == "NaN");
    assert_eq!(lines.lines().map(is_none).collect::<Vec<_>>(), [false, true, true, false]);
    let out = desk.name("e.safetensors");
    assert_eq!(run(&[&["embed", "--out", &out], &four[..]].concat()), "");
    let file = fs::read(&out).unwrap();
    let tensor = SafeTensors::deserialize(&file).unwrap();
    let tensor = tensor.tensor("embeddings").unwrap();
    assert_eq!(tensor.shape(), [4, 128]);
    let rows = floats(tensor.data());
    let none: Vec<bool> = rows.chunks(128).map(|row| row.iter().all(|v| v.is_nan())).collect();
    assert_eq!(none, [false, true, true, false]);
    // The end of all is the end of it: nothing is printed, and there is no file.
    assert_eq!(run(&["classify", "--label", "red", bad, missing]), "");
    assert_eq!(run(&["embed", "--out", &desk.name("none.npy"), bad, missing]), "");
    assert!(!desk.path("none.npy").exists());
}

#[test]
fn what_cannot_be_done_is_refused() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    let bad = &*desk.file("bad.png", b"no picture");
    for picture in ["no/such.png", bad] {
        for words in [
            &["classify", picture, "--label", "red"][..],
            &["match", picture, "a star"],
            &["rank", "--text", "a star", picture],
            &["embed", picture],
            &["embed", picture, "--out", &desk.name("e.npy")],
        ] {
            refuses(words, &[picture]);
        }
    }
    refuses(&["classify", scene, "--label", "a", "--label", " "], &["label 2 of 2 is blank"]);
    refuses(&["classify", scene, "--labels-file", &desk.name("none")], &["cannot read", "none"]);
    refuses(&["classify", scene, "--label", "a", "--template", "a {}"], &["has {}"]);
    refuses(&["classify", scene, "--label", "a", "--template", ""], &["the prompt is empty"]);
    refuses(&["match", scene, " "], &["text 1 of 1 is blank"]);
    refuses(&["embed", scene, "--out", &desk.name("e.txt")], &[".npy or .safetensors"]);
    refuses(&["embed", scene, "--out", &desk.name("no/e.npy")], &["no such folder"]);
    refuses(&["index", &desk.name("none"), "--out", &desk.name("kept")], &["cannot read", "none"]);
    let output = paligemma().args(["index", scene, "--out", &desk.name("kept")]).output().unwrap();
    assert_one_error(&output, &["cannot read"]);
    let two = ["search", scene, "--image", scene, "--text", "a"];
    for words in [&["classify", scene][..], &["search", scene], &two, &["rank", scene]] {
        assert_eq!(paligemma().args(words).output().unwrap().status.code(), Some(2), "{words:?}");
    }
    assert_eq!(desk.files(), ["bad.png", "scene.png"]);
}
