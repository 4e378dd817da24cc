//! Pictures, prompts and devices that cannot be used: one line each, and nothing printed.

use paligemma::image::{DynamicImage, ImageFormat};

use crate::support::{Desk, refuses};

#[test]
fn pictures() {
    let desk = Desk::new();
    let png = std::fs::read(desk.scene()).unwrap();
    let mut jpeg = std::io::Cursor::new(Vec::new());
    DynamicImage::new_rgb8(64, 64).write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
    let jpeg = jpeg.into_inner();
    // The width stands in bytes 16..20 of a PNG, the height in the next four.
    let declares = |width: u32, height: u32| {
        let mut chunk = [&b"IHDR"[..], &width.to_be_bytes(), &height.to_be_bytes()].concat();
        chunk.extend(&png[24..29]);
        let sum = crc32(&chunk).to_be_bytes();
        [&png[..12], &chunk, &sum, &png[33..]].concat()
    };
    assert_eq!(declares(150, 100), png);
    for (name, contents, parts) in [
        ("empty.png", Vec::new(), vec!["not a picture"]),
        ("text.png", b"not a picture at all".to_vec(), vec!["not a picture", "PNG, JPEG"]),
        ("cut.png", png[..png.len() / 2].to_vec(), vec!["cannot decode"]),
        ("cut.jpg", jpeg[..jpeg.len() / 2].to_vec(), vec!["cut off"]),
        ("garbage.jpg", [&jpeg[..4], &[0xab; 60]].concat(), vec![]),
        ("header.png", png[..20].to_vec(), vec!["cannot decode"]),
        ("huge.png", declares(60_000, 60_000), vec!["too large, 60000 x 60000", "16384 pixels"]),
        ("large.png", declares(16_000, 16_000), vec!["too large", "536870912 bytes"]),
        ("lying.png", declares(150, 4000), vec!["cannot decode"]),
    ] {
        let file = &*desk.file(name, &contents);
        refuses(&["caption", file], &[&[name][..], &parts].concat());
        refuses(&["caption", file, "--json"], &[name]);
        let scene = &*desk.scene();
        refuses(&["score", scene, file, "--prompt", "ocr", "--candidate", "a"], &[name]);
    }
    for missing in ["no/such.png", "no\nsuch.png"] {
        refuses(&["caption", missing], &["cannot read the picture"]);
    }
    refuses(&["caption", desk.path("").to_str().unwrap()], &["cannot read the picture"]);
}

/// The checksum of a PNG chunk (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 1 { 0xedb8_8320 ^ (sum >> 1) } else { sum >> 1 };
    !bytes.iter().fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}

#[test]
fn prompts() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    for prompt in ["", " ", "\n"] {
        refuses(&["generate", scene, "--prompt", prompt], &["the prompt is empty"]);
        let words = ["score", scene, "--candidate", "a", "--prompt", prompt];
        refuses(&words, &["the prompt is empty"]);
        refuses(&["ask", scene, prompt], &["the question is empty"]);
    }
    let long = &*"red circle ".repeat(600);
    let limit = ["the model's limit is 512", "shorten it"];
    refuses(&["ask", scene, long], &limit);
    refuses(&["generate", scene, "--prompt", long, "--json"], &limit);
    let words = ["score", scene, "--prompt", "ocr", "--candidate", long];
    refuses(&words, &["the answer `red", "there is room for", "shorten it"]);
    let pictures = [scene; 8];
    refuses(&[&["generate"][..], &pictures, &["--prompt", "ocr"]].concat(), &limit);
}

#[test]
fn zero_new_tokens() {
    let desk = Desk::new();
    let words = ["caption", &desk.scene(), "--max-new-tokens", "0"];
    refuses(&words, &["zero new tokens", "at least one"]);
}

#[test]
fn devices_that_are_not_there() {
    let desk = Desk::new();
    let scene = &*desk.scene();
    for (device, feature, built) in [
        ("flex", "flex", cfg!(feature = "flex")),
        ("ndarray", "ndarray", cfg!(feature = "ndarray")),
        ("wgpu", "wgpu", cfg!(feature = "wgpu")),
        ("cuda", "cuda", cfg!(feature = "cuda")),
    ] {
        if !built {
            let named = format!("`--features {feature}`");
            refuses(&["caption", scene, "--device", device], &["this build has no", &named]);
        }
    }
    if cfg!(feature = "cuda") {
        // There is no driver, or there are fewer than a thousand devices.
        refuses(&["caption", scene, "--device", "cuda:999"], &["this machine has no cuda:999"]);
    }
}
