//! `detect`: boxes as lines and as an object, and the drawing of them.

use paligemma::image;

use crate::support::{Desk, json, keys, paligemma, prints, refuses};

#[test]
fn boxes_are_in_pixels_of_the_picture() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    let words = ["detect", scene, "red square ; blue square"];
    let found = json(&words);
    assert_eq!(keys(&found), ["boxes", "finish_reason", "text", "timings", "token_ids", "usage"]);
    let prompt = "detect red square ; blue square";
    assert_eq!(found["text"], json(&["generate", scene, "--prompt", prompt])["text"]);
    let boxes = found["boxes"].as_array().unwrap();
    let all = json(&[&words[..], &["--keep-duplicates"]].concat());
    let all = all["boxes"].as_array().unwrap();
    assert!(boxes.len() <= all.len() && boxes.iter().all(|one| all.contains(one)));
    let smaller = json(&[&words[..], &["--loc-scale", "1024"]].concat());
    for (one, smaller) in boxes.iter().zip(smaller["boxes"].as_array().unwrap()) {
        for edge in ["x0", "y0", "x1", "y1"] {
            let [one, smaller] = [one, smaller].map(|found| found[edge].as_f64().unwrap());
            assert!((smaller - one * 1023.0 / 1024.0).abs() < 1e-4, "{edge}: {one} {smaller}");
        }
    }
    let mut lines = Vec::new();
    for one in boxes {
        assert_eq!(keys(one), ["confidence", "label", "x0", "x1", "y0", "y1"]);
        let of = |key: &str| one[key].as_f64().unwrap();
        assert!(0.0 <= of("x0") && of("x0") < of("x1") && of("x1") <= 150.0, "{one}");
        assert!(0.0 <= of("y0") && of("y0") < of("y1") && of("y1") <= 100.0, "{one}");
        assert!((0.0..=1.0).contains(&of("confidence")), "{one}");
        let numbers = [of("x0"), of("y0"), of("x1"), of("y1")].map(|edge| format!(" {edge:.1}"));
        let label = one["label"].as_str().unwrap();
        lines.push(format!("{label} {:.2}{}\n", of("confidence"), numbers.concat()));
    }
    assert_eq!(prints(&words), lines.concat());
}

#[test]
fn the_drawing_has_the_format_of_its_name_and_the_size_of_the_picture() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    for (name, format) in [
        ("boxes.png", image::ImageFormat::Png),
        ("boxes.JPG", image::ImageFormat::Jpeg),
        ("boxes.webp", image::ImageFormat::WebP),
    ] {
        // What was there before is replaced.
        let out = &*desk.file(name, b"old");
        let words = ["detect", scene, "red square", "--out", out];
        assert_eq!(prints(&words), prints(&words[..3]));
        let bytes = std::fs::read(out).unwrap();
        assert_eq!(image::guess_format(&bytes).unwrap(), format);
        let drawing = image::load_from_memory(&bytes).unwrap();
        assert_eq!((drawing.width(), drawing.height()), (150, 100));
    }
    assert_eq!(desk.files(), ["boxes.JPG", "boxes.png", "boxes.webp", "scene.png"]);
    let output = paligemma()
        .args(["detect", "scene.png", "red square", "--out", "here.png"])
        .current_dir(desk.path("scene.png").parent().unwrap())
        .output()
        .unwrap();
    assert!(output.status.success() && desk.path("here.png").exists(), "{output:?}");
}

#[test]
fn what_cannot_be_drawn_leaves_nothing_behind() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    for name in ["boxes.txt", "boxes", "boxes.gif"] {
        let out = &*desk.name(name);
        // Said before any work: there is no such picture.
        refuses(&["detect", "no.png", "cat", "--out", out], &[name, ".png, .jpg or .webp"]);
    }
    let out = &*desk.name("no/boxes.png");
    refuses(&["detect", scene, "cat", "--out", out], &["no such folder"]);
    std::fs::create_dir(desk.path("folder.png")).unwrap();
    let out = &*desk.name("folder.png");
    refuses(&["detect", scene, "cat", "--out", out], &["cannot write", "folder.png"]);
    // Another name of the picture itself.
    let itself = &*desk.name("./scene.png");
    refuses(&["detect", scene, "cat", "--out", itself], &["is the picture itself"]);
    assert_eq!(desk.files(), ["folder.png", "scene.png"]);
    for things in ["", " ; ;"] {
        refuses(&["detect", scene, things], &["no thing to look for", "name at least one"]);
    }
}

#[test]
fn a_constrained_answer_names_only_what_was_asked_for() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    let mut found = 0;
    for more in [&[][..], &["--num-beams", "2"], &["--seed", "4", "--temperature", "3"]] {
        let words =
            ["detect", scene, "zebra ; a big gnu", "--constrained", "--max-new-tokens", "60"];
        let answer = json(&[&words[..], more].concat());
        let text = answer["text"].as_str().unwrap();
        for item in text.split(" ; ").filter(|item| !item.is_empty()) {
            assert!(item.ends_with("> zebra") || item.ends_with("> a big gnu"), "{text}");
            assert_eq!(item.matches("<loc").count(), 4, "{text}");
            found += 1;
        }
    }
    assert!(found > 0, "draws at this temperature begin boxes");
    let words = ["detect", scene, "cat<loc0001>", "--constrained"];
    refuses(&words, &["cat<loc0001>", "cannot stand in an answer"]);
}
