//! `import` and `presets`: rows written whole or not at all, and recipes.

use std::fs;
use std::path::Path;

use paligemma::image::RgbImage;
use serde_json::{Value, json};

use crate::support::{Desk, json as printed, paligemma, prints, refuses};

const MASK_MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/masks/vae.npz");

/// Annotations of the scene, which has a red and a blue square.
fn annotations(desk: &Desk) -> String {
    let square = |id: u32, category: u32, [x, y]: [u32; 2]| {
        let [right, bottom] = [x + 40, y + 40];
        json!({
            "id": id, "image_id": 1, "category_id": category, "bbox": [x, y, 40, 40],
            "segmentation": [[x, y, right, y, right, bottom, x, bottom]],
        })
    };
    let crowd =
        json!({"id": 3, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1});
    let all = json!({
        "images": [{"id": 1, "file_name": "scene.png", "width": 150, "height": 100}],
        "annotations": [square(1, 1, [30, 20]), square(2, 2, [90, 50]), crowd],
        "categories": [{"id": 1, "name": "red square"}, {"id": 2, "name": "blue square"}],
    });
    desk.file("boxes.json", all.to_string().as_bytes())
}

fn rows(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn boxes_become_rows() {
    let desk = Desk::new();
    let (source, out) = (&*annotations(&desk), &*desk.name("train.jsonl"));
    let words = ["import", "coco", source, "--out", out, "--skip", "crowds"];
    assert_eq!(prints(&words), format!("{out}: 1 example\nleft out: 1 crowd regions\n"));
    let expected = json!({
        "image": "scene.png", "prefix": "detect red square ; blue square",
        "suffix": "<loc0205><loc0205><loc0614><loc0477> red square ; \
                   <loc0512><loc0614><loc0921><loc0887> blue square",
    });
    assert_eq!(rows(&desk.path("train.jsonl")), [expected]);
    assert_eq!(printed(&words), json!({"examples": 1, "left_out": {"crowds": 1}}));
    assert_eq!(desk.files(), ["boxes.json", "scene.png", "train.jsonl"]);
}

#[test]
fn masks_become_rows_that_the_model_reads() {
    let desk = Desk::new();
    let (source, out) = (&*annotations(&desk), &*desk.name("train.jsonl"));
    let words = ["import", "coco-masks", source, "--out", out, "--skip", "crowds"];
    prints(&words);
    let embedded = rows(&desk.path("train.jsonl"));
    assert_eq!(embedded[0]["prefix"], "segment red square ; blue square");
    let suffix = embedded[0]["suffix"].as_str().unwrap();
    assert_eq!(suffix.matches("<seg").count(), 32, "{suffix}");
    // Both fill their boxes, so they have the same codes.
    let codes = |text: &str| text.find("<seg").map(|at| text[at..at + 16 * 8].to_owned());
    let (red, blue) = suffix.split_once(" ; ").unwrap();
    assert_eq!(codes(red), codes(blue));
    prints(&[&words[..], &["--mask-model", MASK_MODEL]].concat());
    assert_ne!(rows(&desk.path("train.jsonl")), embedded, "another VQ-VAE has other codes");
    let none = desk.name("none.npz");
    refuses(&[&words[..], &["--mask-model", &none]].concat(), &["none.npz"]);
}

#[test]
fn faults_are_listed_and_nothing_is_written() {
    let desk = Desk::new();
    let source = &*desk.file("rows.csv", b"image,prefix,suffix\nscene.png,q,\nno.png,q,x\n");
    let output = paligemma()
        .args(["import", "csv", source, "--out", &desk.name("out.jsonl")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "error: the data has 2 faults");
    assert!(lines[1].ends_with("rows.csv:2: \"suffix\" is empty"), "{said}");
    assert!(lines[2].contains("rows.csv:3: there is no picture"), "{said}");
    assert_eq!(
        (lines.len(), desk.files()),
        (3, vec!["rows.csv".to_owned(), "scene.png".to_owned()])
    );
    refuses(&["import", "csv", source, "--out", &desk.name("no/out.jsonl")], &["no such folder"]);
    refuses(&["import", "csv", &desk.name("no.csv"), "--out", &desk.name("x")], &["no.csv"]);
}

#[test]
fn tables_and_folders_become_rows() {
    let desk = Desk::new();
    let out = &*desk.name("out.jsonl");
    let csv = &*desk.file("rows.csv", b"file,what\nscene.png,a red and a blue square\n");
    let columns = ["--image-column", "file", "--suffix-column", "what", "--prefix", "caption en"];
    prints(&[&["import", "csv", csv, "--out", out], &columns[..]].concat());
    let row = |image: &str, prefix: &str, suffix: &str| json!({"image": image, "prefix": prefix, "suffix": suffix});
    let written = || rows(Path::new(out));
    assert_eq!(written(), [row("scene.png", "caption en", "a red and a blue square")]);

    for class in ["cat", "dog"] {
        fs::create_dir_all(desk.path("classes").join(class)).unwrap();
        RgbImage::new(4, 4).save(desk.path("classes").join(class).join("1.png")).unwrap();
    }
    prints(&["import", "folders", &desk.name("classes"), "--out", out, "--prefix", "what?"]);
    let expected =
        ["cat", "dog"].map(|class| row(&format!("classes/{class}/1.png"), "what?", class));
    assert_eq!(written(), expected);

    let table = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tables/inside.parquet");
    let columns = ["--prefix-column", "question", "--suffix-column", "answer"];
    prints(&[&["import", "parquet", table, "--out", out], &columns[..]].concat());
    assert_eq!(written()[1], row("out.images/000001.jpg", "answer en where?", "here"));
    refuses(
        &[&["import", "parquet", table, "--out", out], &columns[..]].concat(),
        &["out.images is there already"],
    );
}

#[test]
fn yolo_folders_become_rows() {
    let desk = Desk::new();
    for kind in ["images", "labels"] {
        fs::create_dir_all(desk.path(kind).join("train")).unwrap();
    }
    fs::rename(desk.scene(), desk.path("images/train/a.png")).unwrap();
    fs::write(desk.path("labels/train/a.txt"), "0 0.5 0.5 0.5 0.5\n").unwrap();
    desk.file("data.yaml", b"names: [square, disc]\n");
    let out = &*desk.name("out.jsonl");
    let folder = desk.name("");
    prints(&["import", "yolo", &folder, "--split", "train", "--every-class", "--out", out]);
    let expected = json!({
        "image": "images/train/a.png", "prefix": "detect square ; disc",
        "suffix": "<loc0256><loc0256><loc0767><loc0767> square",
    });
    assert_eq!(rows(Path::new(out)), [expected]);
}

#[test]
fn recipes_are_shown() {
    let table = prints(&["presets"]);
    assert_eq!(table.lines().count(), 65);
    let row =
        table.lines().find(|line| line.starts_with("docvqa") && line.contains(" 896 ")).unwrap();
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words, ["docvqa", "896", "1e-5", "1e-6", "10", "256", "anls", "{question}"]);
    let one = prints(&["presets", "refcoco_seg"]);
    assert_eq!(one.matches("label smoothing  0.3").count(), 3, "{one}");
    let objects = paligemma().args(["presets", "refcoco_seg", "--json"]).output().unwrap();
    let objects: Value = serde_json::from_slice(&objects.stdout).unwrap();
    let rates: Vec<f64> = objects
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["learning_rate"].as_f64().unwrap())
        .collect();
    assert_eq!(rates, [3e-5, 1e-5, 1e-5]);
    refuses(&["presets", "vqa"], &["there is no preset `vqa`", "vqav2"]);
}
