//! `segment`: masks as lines, as an object, as a drawing and as files.

use std::fs;

use paligemma::image;
use paligemma::{Bitmap, Rle};

use crate::support::{Desk, json, keys, paligemma, pocket_folder, prints, refuses};

const MASK_MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/masks/vae.npz");

/// The words of a run that is sure to find what can be read.
fn words(scene: &str) -> [&str; 6] {
    ["segment", scene, "red square", "--constrained", "--mask-model", MASK_MODEL]
}

#[test]
fn masks_are_of_the_picture_and_in_their_boxes() {
    let desk = Desk::new();
    let (scene, masks) = (&*desk.scene(), &*desk.name("masks"));
    let words = words(scene);
    let found = json(&[&words[..], &["--masks", masks]].concat());
    let mut members = ["finish_reason", "segments", "text", "timings", "token_ids", "usage"];
    members.sort_unstable();
    assert_eq!(keys(&found), members);
    let segments = found["segments"].as_array().unwrap();
    assert!(!segments.is_empty(), "{found}");
    let mut lines = Vec::new();
    for (index, one) in segments.iter().enumerate() {
        let members = ["area", "confidence", "label", "polygons", "rle", "x0", "x1", "y0", "y1"];
        assert_eq!(keys(one), members);
        let size = [&one["rle"]["size"][0], &one["rle"]["size"][1]].map(serde_json::Value::as_u64);
        assert_eq!(size, [Some(100), Some(150)], "height and width, as COCO has them");
        let rle = Rle::from_compressed([100, 150], one["rle"]["counts"].as_str().unwrap()).unwrap();
        let mask = rle.bitmap().unwrap();
        assert_eq!(mask.area() as u64, one["area"].as_u64().unwrap());
        let of = |key: &str| one[key].as_f64().unwrap();
        if let Some([x0, y0, x1, y1]) = mask.bounds() {
            assert!(of("x0") < f64::from(x0) + 1.0 && f64::from(x1) <= of("x1"), "{one}");
            assert!(of("y0") < f64::from(y0) + 1.0 && f64::from(y1) <= of("y1"), "{one}");
        }
        let holes = one["polygons"].as_array().unwrap().iter().all(|part| part["holes"].is_array());
        assert!(holes && mask.area() > 0 || one["polygons"] == serde_json::json!([]));

        let file = image::open(desk.path("masks").join(format!("scene.{index:03}.red_square.png")));
        let file = file.unwrap().to_luma8();
        let white = Bitmap::from_fn(150, 100, |x, y| file.get_pixel(x, y).0 == [255]);
        assert_eq!((file.dimensions(), white), ((150, 100), mask));
        let label = one["label"].as_str().unwrap();
        let edges = [of("x0"), of("y0"), of("x1"), of("y1")].map(|edge| format!(" {edge:.1}"));
        let sure = of("confidence");
        lines.push(format!("{label} {sure:.2}{} {}\n", edges.concat(), one["area"]));
    }
    assert_eq!(fs::read_dir(desk.path("masks")).unwrap().count(), segments.len());
    assert_eq!(prints(&words), lines.concat());
}

#[test]
fn soft_masks_are_grey_and_their_upper_half_is_the_mask() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    let [hard, soft] = ["hard", "soft"].map(|name| desk.name(name));
    prints(&[&words(scene)[..], &["--masks", &hard]].concat());
    prints(&[&words(scene)[..], &["--masks", &soft, "--soft"]].concat());
    let open =
        |folder: &str| image::open(desk.path(folder).join("scene.000.red_square.png")).unwrap();
    let (hard, soft) = (open("hard").to_luma8(), open("soft"));
    let image::DynamicImage::ImageLuma16(soft) = soft else { panic!("not 16 bits of grey") };
    assert_eq!(soft.dimensions(), (150, 100));
    for (hard, soft) in hard.pixels().zip(soft.pixels()) {
        assert_eq!(hard.0[0] == 255, soft.0[0] >= 32_768);
    }
    let mut levels: Vec<u16> = soft.pixels().map(|level| level.0[0]).collect();
    levels.sort_unstable();
    levels.dedup();
    assert!(levels.len() > 10, "{levels:?}");
    let alone = [&words(scene)[..], &["--soft"]].concat();
    assert_eq!(paligemma().args(&alone).output().unwrap().status.code(), Some(2));
}

#[test]
fn masks_of_an_earlier_run_are_replaced_and_other_files_stay() {
    let desk = Desk::new();
    let (scene, masks) = (&*desk.scene(), &*desk.name("masks"));
    fs::create_dir(masks).unwrap();
    let stays = ["other.000.cat.png", "scene.png", "notes.txt"];
    for name in stays.iter().chain(&["scene.000.dog.png", "scene.007.red_square.png"]) {
        fs::write(desk.path("masks").join(name), "").unwrap();
    }
    let found = json(&[&words(scene)[..], &["--masks", masks]].concat());
    let count = found["segments"].as_array().unwrap().len();
    let place = |place: usize| format!("scene.{place:03}.red_square.png");
    let mut expected: Vec<String> = (0..count).map(place).collect();
    expected.extend(stays.map(str::to_owned));
    expected.sort();
    let names = fs::read_dir(masks).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, expected);
}

#[test]
fn the_drawing_differs_from_the_picture_where_a_thing_is() {
    let desk = Desk::new();
    let (scene, out) = (&*desk.scene(), &*desk.name("out.png"));
    prints(&[&words(scene)[..], &["--out", out]].concat());
    let (before, after) = (image::open(scene).unwrap(), image::open(out).unwrap());
    assert_eq!((after.width(), after.height()), (150, 100));
    assert_ne!(before.to_rgb8(), after.to_rgb8());
    assert_eq!(desk.files(), ["out.png", "scene.png"]);
}

#[test]
fn a_mask_model_in_the_folder_is_used() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    let folder = pocket_folder();
    let model = folder.path().to_str().unwrap();
    let words = &["segment", scene, "red square", "--constrained", "--model", model];
    refuses(words, &["vae-oid.npz", "https://storage.googleapis.com/", "--mask-model"]);
    let named = prints(&[&words[..], &["--mask-model", MASK_MODEL]].concat());
    fs::copy(MASK_MODEL, folder.path().join("vae-oid.npz")).unwrap();
    assert_eq!(prints(words), named);
}

#[test]
fn what_cannot_be_done_is_said_and_leaves_nothing() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    let text = &*desk.file("notes.npz", b"not a model");
    let part = &*desk.file("part.npz", &fs::read(MASK_MODEL).unwrap()[..5000]);
    let folder = pocket_folder();
    let weights = folder.path().join("model.safetensors");
    for (file, says) in [
        (text, "notes.npz"),
        (part, "part.npz"),
        (weights.to_str().unwrap(), "_vq_vae._embedding"),
        ("no.npz", "no.npz"),
    ] {
        refuses(&["segment", scene, "cat", "--mask-model", file], &[says]);
    }
    let with =
        |words: &[&str], says: &[&str]| refuses(&[&self::words(scene)[..], words].concat(), says);
    with(&["--masks", scene], &["scene.png is not a folder"]);
    with(&["--masks", &desk.name("no/masks")], &["no such folder"]);
    with(&["--out", &desk.name("out.txt")], &[".png, .jpg or .webp"]);
    refuses(&["segment", scene, " ; "], &["no thing to look for"]);
    assert_eq!(desk.files(), ["notes.npz", "part.npz", "scene.png"]);
}
