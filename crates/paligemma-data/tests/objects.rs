//! COCO and YOLO: hand-written annotations with known right answers, and every fault.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use paligemma_data::{
    CocoOptions, DataError, Example, Imported, Skip, YoloOptions, import_coco, import_coco_masks,
    import_yolo, read_jsonl, write_jsonl,
};
use paligemma_processor::{Bitmap, CODES, Rle, crop_mask, parse_detections};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{faults, picture};
use tempfile::TempDir;

/// Two pictures, three categories, a crowd, and outlines, run lengths and a string of them.
fn coco() -> (TempDir, Value) {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder.path().join("photos/a.png"), 200, 100);
    picture(&folder.path().join("photos/b.png"), 64, 64);
    let disc = Rle::of(&Bitmap::from_fn(64, 64, |x, y| (8..40).contains(&x) && y < 32));
    let annotations = json!({
        "info": {"year": 2026},
        "images": [
            {"id": 5, "file_name": "a.png", "width": 200, "height": 100, "license": 1},
            {"id": 9, "file_name": "b.png", "width": 64, "height": 64},
        ],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 3, "bbox": [20, 10, 100, 50], "iscrowd": 0,
             "segmentation": [[20, 10, 120, 10, 120, 60, 20, 60]]},
            {"id": 2, "image_id": 9, "category_id": 3, "bbox": [8, 0, 32, 32],
             "segmentation": {"size": [64, 64], "counts": disc.compressed()}},
            {"id": 3, "image_id": 5, "category_id": 1, "bbox": [0, 0, 200, 100.4],
             "segmentation": [[0, 0, 100, 0, 100, 100, 0, 100], [150, 0, 200, 0, 200, 100, 150, 100]]},
            {"id": 4, "image_id": 5, "category_id": 1, "bbox": [0, 0, 20, 20], "iscrowd": 1,
             "segmentation": {"size": [100, 200], "counts": [20000]}},
        ],
        "categories": [
            {"id": 1, "name": "person", "supercategory": "person"},
            {"id": 2, "name": "dog"},
            {"id": 3, "name": "traffic light"},
        ],
    });
    (folder, annotations)
}

fn write(folder: &Path, annotations: &Value) -> PathBuf {
    let file = folder.join("boxes.json");
    fs::write(&file, annotations.to_string()).unwrap();
    file
}

fn options(folder: &Path, skip: &[Skip]) -> CocoOptions {
    CocoOptions { images: Some(folder.join("photos")), every_class: false, skip: skip.to_vec() }
}

fn row(folder: &Path, name: &str, prefix: &str, suffix: &str) -> Example {
    Example::new(vec![folder.join(name)], prefix.to_owned(), suffix.to_owned())
}

#[test]
fn boxes_of_coco_are_what_they_should_be() {
    let (folder, annotations) = coco();
    let file = write(folder.path(), &annotations);
    let folder = folder.path();
    let Imported { examples, left_out } =
        import_coco(&file, &options(folder, &[Skip::Crowds])).unwrap();
    // 10/100, 20/200, 60/100, 120/200 of 1023; the other box is cut to the picture.
    let expected = [
        row(
            folder,
            "photos/a.png",
            "detect person ; traffic light",
            "<loc0102><loc0102><loc0614><loc0614> traffic light ; \
             <loc0000><loc0000><loc1023><loc1023> person",
        ),
        row(
            folder,
            "photos/b.png",
            "detect traffic light",
            "<loc0000><loc0128><loc0512><loc0639> traffic light",
        ),
    ];
    assert_eq!(examples, expected);
    assert_eq!(left_out, BTreeMap::from([(Skip::Crowds, 1)]));
    let out = folder.join("train.jsonl");
    write_jsonl(&out, &examples).unwrap();
    assert_eq!(read_jsonl(&out).unwrap(), expected);

    let every = CocoOptions { every_class: true, ..options(folder, &[Skip::Crowds]) };
    for example in import_coco(&file, &every).unwrap().examples {
        assert_eq!(example.prefix, "detect person ; dog ; traffic light");
    }
    let said = faults(folder, import_coco(&file, &options(folder, &[])));
    assert_eq!(
        said,
        ["boxes.json: annotation 4: a crowd region, which no answer can express: skip crowds to \
          leave such out"]
    );
}

#[test]
fn masks_of_coco_are_cut_to_their_boxes_and_encoded() {
    let (folder, annotations) = coco();
    let file = write(folder.path(), &annotations);
    let folder = folder.path();
    let code = |mask: &Vec<f32>| (mask.iter().sum::<f32>() / 64.0).round() as u8;
    let mut seen: Vec<Vec<f32>> = Vec::new();
    let mut encode = |masks: &[Vec<f32>]| {
        seen.extend_from_slice(masks);
        masks.iter().map(|mask| [code(mask); CODES]).collect()
    };
    let options = options(folder, &[Skip::Crowds]);
    let Imported { examples, .. } = import_coco_masks(&file, &options, &mut encode).unwrap();
    let halves = Bitmap::from_fn(200, 100, |x, _| !(100..150).contains(&x));
    let all = vec![1.0; 64 * 64];
    let expected = [all.clone(), crop_mask(&halves, [0.0, 0.0, 200.0, 100.4]), all];
    assert_eq!(seen.len(), expected.len());
    for (mask, expected) in seen.iter().zip(&expected) {
        assert!(mask.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6));
    }
    let codes = |code: u8| format!("<seg{code:03}>").repeat(CODES);
    assert_eq!(examples[0].prefix, "segment person ; traffic light");
    let suffix = format!(
        "<loc0102><loc0102><loc0614><loc0614>{} traffic light ; \
         <loc0000><loc0000><loc1023><loc1023>{} person",
        codes(64),
        codes(48),
    );
    assert_eq!(examples[0].suffix, suffix);
    assert_eq!(parse_detections(&examples[1].suffix)[0].codes, Some([64; CODES]));
}

/// What is wrong with annotations that were changed.
fn after(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let (folder, mut annotations) = coco();
    change(&mut annotations);
    let file = write(folder.path(), &annotations);
    let options = options(folder.path(), &[Skip::Crowds]);
    faults(folder.path(), import_coco(&file, &options))
}

#[test]
fn every_fault_of_coco_is_told_with_its_record() {
    let one = |change: &dyn Fn(&mut Value), expected: &str| {
        let found = after(change);
        assert_eq!(found, [format!("boxes.json: {expected}")]);
    };
    one(&|all| all["annotations"][0]["image_id"] = 6.into(), "annotation 1: there is no image 6");
    one(
        &|all| all["annotations"][0]["category_id"] = 6.into(),
        "annotation 1: there is no category 6",
    );
    one(&|all| all["annotations"][2]["id"] = 1.into(), "annotation 1: another has the number 1");
    one(
        &|all| all["annotations"][0]["bbox"] = json!([1, 2, 3]),
        "annotations[0]: invalid length 3, expected an array of length 4",
    );
    one(
        &|all| drop(all["annotations"][0].as_object_mut().unwrap().remove("bbox")),
        "annotations[0]: missing field `bbox`",
    );
    one(
        &|all| all["annotations"][0]["bbox"] = json!([20, 10, 182, 50]),
        "annotation 1: the box from 20.0 10.0 to 202.0 60.0 leaves the picture of 200 x 100 pixels",
    );
    one(
        &|all| all["annotations"][0]["bbox"] = json!([20, 10, 0.01, 50]),
        "annotation 1: the object is too small to be told: skip degenerate to leave such out",
    );
    one(
        &|all| all["categories"][1]["name"] = "hot;dog".into(),
        "category 2: the name \"hot;dog\" cannot stand in an answer: it is empty or has a `;`, `<` \
         or line break",
    );
    one(&|all| all["categories"][1]["id"] = 1.into(), "category 1: another has the number 1");
    one(
        &|all| all["images"][1]["width"] = 65.into(),
        "image 9: the picture has 64 x 64 pixels, its annotations are of 65 x 64",
    );
    one(
        &|all| all["images"][1]["file_name"] = "c.png".into(),
        "image 9: there is no picture photos/c.png",
    );
    one(
        &|all| drop(all["annotations"].as_array_mut().unwrap().remove(1)),
        "image 9: the picture has no object, so there is no answer: skip empty to leave such out",
    );
}

#[test]
fn what_is_skipped_is_counted() {
    let (folder, mut annotations) = coco();
    annotations["annotations"][1]["bbox"] = json!([8, 8, 0, 3]);
    let file = write(folder.path(), &annotations);
    let all = [Skip::Crowds, Skip::Degenerate, Skip::Empty];
    let Imported { examples, left_out } =
        import_coco(&file, &options(folder.path(), &all)).unwrap();
    assert_eq!(examples.len(), 1);
    assert_eq!(left_out, all.map(|skip| (skip, 1)).into());
    let some = faults(folder.path(), import_coco(&file, &options(folder.path(), &all[..2])));
    assert!(some[0].starts_with("boxes.json: image 9: the picture has no object"), "{some:?}");
}

#[test]
fn every_fault_of_masks_is_told_with_its_record() {
    let (folder, annotations) = coco();
    let say = |segmentation: Value| {
        let mut changed = annotations.clone();
        changed["annotations"][1]["segmentation"] = segmentation;
        let file = write(folder.path(), &changed);
        let options = options(folder.path(), &[Skip::Crowds, Skip::Empty]);
        let mut encode = |masks: &[Vec<f32>]| vec![[0; CODES]; masks.len()];
        faults(folder.path(), import_coco_masks(&file, &options, &mut encode)).join("|")
    };
    for (segmentation, expected) in [
        (json!([[1, 2, 3, 4]]), "annotations[1]: segmentation: an outline is three or more points"),
        (json!("x"), "annotations[1]: segmentation: neither outlines nor run lengths"),
        (json!({"size": [64, 64]}), "annotations[1]: segmentation: missing field `counts`"),
        (json!({"size": [64, 64], "counts": "\u{7f}"}), "annotations[1]: segmentation: the string"),
        (
            json!({"size": [64, 64], "counts": [1, 2]}),
            "annotation 2: the runs are 3 pixels, the picture has 4096",
        ),
        (
            json!({"size": [32, 64], "counts": [2048]}),
            "annotation 2: run lengths of 64 x 32 pixels",
        ),
        (json!([[50, 50, 60, 50, 60, 60]]), "annotation 2: the object is too small to be told"),
        (json!([]), "annotation 2: the object is too small to be told"),
    ] {
        let said = say(segmentation);
        assert!(said.starts_with(&format!("boxes.json: {expected}")), "{said}");
    }
    let mut changed = annotations.clone();
    changed["annotations"][1].as_object_mut().unwrap().remove("segmentation");
    let file = write(folder.path(), &changed);
    // Boxes need no outline.
    import_coco(&file, &options(folder.path(), &[Skip::Crowds])).unwrap();
}

#[test]
fn a_picture_of_another_size_is_not_drawn() {
    let (folder, mut annotations) = coco();
    // Its mask would have 40 gigabytes.
    let side = 200_000_u32;
    annotations["images"][1]["width"] = side.into();
    annotations["images"][1]["height"] = side.into();
    annotations["annotations"][1]["bbox"] = json!([0, 0, side, side]);
    annotations["annotations"][1]["segmentation"] = json!([[0, 0, side, 0, side, side]]);
    let file = write(folder.path(), &annotations);
    let options = options(folder.path(), &[Skip::Crowds]);
    let mut drawn = 0;
    let mut encode = |masks: &[Vec<f32>]| {
        drawn += masks.len();
        vec![[0; CODES]; masks.len()]
    };
    let said = faults(folder.path(), import_coco_masks(&file, &options, &mut encode));
    assert_eq!(
        said,
        ["boxes.json: image 9: the picture has 64 x 64 pixels, its annotations are of 200000 x \
          200000"]
    );
    assert_eq!(drawn, 2);
}

#[test]
fn what_is_no_coco_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for contents in ["", "[]", "{\"images\": []}", "{\"images\": 3}"] {
        let file = folder.path().join("x.json");
        fs::write(&file, contents).unwrap();
        let error = import_coco(&file, &CocoOptions::default()).unwrap_err();
        assert!(matches!(error, DataError::Format { .. }), "{error}");
    }
}

/// A folder of two pictures of 100 x 50 pixels.
fn yolo(labels: &str, names: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture(&at("images/train/a.png"), 100, 50);
    picture(&at("images/train/deep/b.png"), 100, 50);
    fs::create_dir_all(at("labels/train/deep")).unwrap();
    fs::write(at("labels/train/a.txt"), labels).unwrap();
    fs::write(at("labels/train/deep/b.txt"), "0 0.5 0.5 1 1\n").unwrap();
    fs::write(at("data.yaml"), names).unwrap();
    folder
}

fn train() -> YoloOptions {
    YoloOptions { split: Some("train".to_owned()), ..YoloOptions::default() }
}

#[test]
fn yolo_folders_are_read() {
    let names = "path: .\ntrain: images/train\nnames:\n  0: cat\n  1: 7\n";
    let folder = yolo("1 0.25 0.5 0.5 0.2\n\n0 0.9 0.9 0.2 0.2\n", names);
    let Imported { examples, left_out } = import_yolo(folder.path(), &train()).unwrap();
    assert!(left_out.is_empty());
    let expected = [
        row(
            folder.path(),
            "images/train/a.png",
            "detect cat ; 7",
            "<loc0409><loc0000><loc0614><loc0512> 7 ; <loc0818><loc0818><loc1023><loc1023> cat",
        ),
        row(
            folder.path(),
            "images/train/deep/b.png",
            "detect cat",
            "<loc0000><loc0000><loc1023><loc1023> cat",
        ),
    ];
    assert_eq!(examples, expected);
    let all = import_yolo(folder.path(), &YoloOptions::default()).unwrap();
    assert_eq!(all.examples, expected);
    // The other layout: the split outside.
    let other = tempfile::tempdir().unwrap();
    fs::create_dir(other.path().join("train")).unwrap();
    for kind in ["images", "labels"] {
        let (from, to) = (folder.path().join(kind).join("train"), other.path().join("train"));
        fs::rename(from, to.join(kind)).unwrap();
    }
    fs::write(other.path().join("data.yaml"), "names: [cat, dog]").unwrap();
    let imported = import_yolo(other.path(), &train()).unwrap();
    assert_eq!(imported.examples[0].prefix, "detect cat ; dog");
}

#[test]
fn every_fault_of_yolo_is_told_with_its_line() {
    let good = "1 0.5 0.5 0.5 0.5";
    for (line, expected) in [
        ("cat 0.5 0.5 0.5 0.5", "the class is not a whole number"),
        ("2 0.5 0.5 0.5 0.5", "there is no class 2"),
        ("-1 0.5 0.5 0.5 0.5", "there is no class -1"),
        ("0 0.5 0.5 0.5", "a box is `class x y width height`, numbers with spaces between"),
        (
            "0 0.5 0.5 0.5 0.5 0.1 0.1",
            "a box is `class x y width height`, numbers with spaces between",
        ),
        ("0 0.5 nan 0.5 0.5", "a box is `class x y width height`, numbers with spaces between"),
        (
            "0 0.5 0.5 0.5 0",
            "the object is too small to be told: skip degenerate to leave such out",
        ),
        (
            "0 0.9 0.5 0.5 0.5",
            "the box from 65.0 12.5 to 115.0 37.5 leaves the picture of 100 x 50 pixels",
        ),
    ] {
        let folder = yolo(&format!("{good}\n{line}\n{good}\n"), "names: [cat, dog]");
        let said = faults(folder.path(), import_yolo(folder.path(), &train()));
        assert_eq!(said, [format!("labels/train/a.txt:2: {expected}")]);
    }
}

#[test]
fn yolo_folders_must_be_whole() {
    let folder = yolo("", "names: [cat]");
    let said = faults(folder.path(), import_yolo(folder.path(), &train()));
    assert_eq!(
        said,
        ["images/train/a.png: the picture has no object, so there is no answer: skip empty to \
          leave such out"]
    );
    let skip = YoloOptions { skip: vec![Skip::Empty], ..train() };
    assert_eq!(import_yolo(folder.path(), &skip).unwrap().left_out, [(Skip::Empty, 1)].into());
    fs::rename(folder.path().join("images/train/deep/b.png"), folder.path().join("b.png")).unwrap();
    let said = faults(folder.path(), import_yolo(folder.path(), &skip));
    let alone = "labels/train/deep/b.txt: labels of no picture: there is none of this name in ";
    assert!(said[0].starts_with(alone), "{said:?}");

    for (names, expected) in [
        ("nc: 2", "no names"),
        ("names: []", "no names"),
        ("names: {1: a}", "no names"),
        ("names: [", ""),
    ] {
        let folder = yolo("", names);
        let error = import_yolo(folder.path(), &train()).unwrap_err().to_string();
        assert!(error.contains("data.yaml") && error.contains(expected), "{error}");
    }
    let error =
        import_yolo(folder.path(), &YoloOptions { split: Some("val".to_owned()), ..train() });
    assert!(error.unwrap_err().to_string().contains("no folder"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn locations_are_within_half_a_bin_of_the_box(
        boxes in prop::collection::vec((0.0_f64..180.0, 0.0_f64..80.0, 2.0_f64..20.0, 2.0_f64..20.0), 1..6),
    ) {
        let (folder, mut annotations) = coco();
        let objects: Vec<Value> = (1..).zip(&boxes).map(|(id, (x, y, width, height)): (i64, _)| {
            json!({"id": id, "image_id": 5, "category_id": 1, "bbox": [x, y, width, height]})
        }).collect();
        annotations["annotations"] = objects.into();
        let file = write(folder.path(), &annotations);
        let Imported { examples, .. } = import_coco(&file, &options(folder.path(), &[Skip::Empty])).unwrap();
        let found = parse_detections(&examples[0].suffix);
        prop_assert_eq!(found.len(), boxes.len());
        for (found, (x, y, width, height)) in found.iter().zip(&boxes) {
            let edges = [(found.x0, x / 200.0), (found.y0, y / 100.0), (found.x1, (x + width) / 200.0), (found.y1, (y + height) / 100.0)];
            for (found, edge) in edges {
                prop_assert!((f64::from(found) - edge).abs() <= 0.5 / 1023.0 + 1e-6);
            }
        }
    }
}
