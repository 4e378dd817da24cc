//! Clips against the frames that Pillow draws, and which frames of them are chosen.

use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage, imageops};
use paligemma_processor::{
    Clip, ClipError, FrameChoice, PictureError, image, is_picture_name, open_picture,
};
use proptest::prelude::*;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/clips").join(name)
}

fn choose(count: Option<usize>, stride: Option<usize>, total: usize) -> Vec<usize> {
    FrameChoice { count, stride }.of(total).unwrap()
}

fn largest_difference(left: &RgbImage, right: &RgbImage) -> u8 {
    assert_eq!(left.dimensions(), right.dimensions());
    let values = left.as_raw().iter().zip(right.as_raw());
    values.map(|(left, right)| left.abs_diff(*right)).max().unwrap()
}

#[test]
fn animations_are_drawn_as_the_reference_draws_them() {
    for name in ANIMATIONS {
        let clip = Clip::open(&golden(name)).unwrap();
        assert_eq!(clip.frames(), 5, "{name}");
        let strip = open_picture(&golden(&format!("{name}.frames.png"))).unwrap();
        let expected =
            |place: usize| imageops::crop_imm(&strip, 0, 28 * place as u32, 40, 28).to_image();
        let frames = clip.read(&[0, 1, 2, 3, 4]).unwrap();
        for (place, frame) in frames.iter().enumerate() {
            let difference = largest_difference(frame, &expected(place));
            // The decoder's blending rounds down (image-webp 0.2, `do_alpha_blending`).
            let rounding = u8::from(Path::new(name).extension() == Some("webp".as_ref()));
            assert!(difference <= rounding, "{name}, frame {place}: {difference}");
        }
        assert!(clip.read(&[1, 4]).unwrap() == [&frames[1], &frames[4]].map(Clone::clone));
        assert!(matches!(clip.read(&[5]), Err(ClipError::TooFew { there: 5, .. })), "{name}");
    }
}

#[test]
fn a_folder_is_in_the_order_that_people_number_it() {
    let folder = tempfile::tempdir().unwrap();
    let shade = |value: u8| RgbImage::from_pixel(3, 2, Rgb([value; 3]));
    for value in [10, 2, 1, 100] {
        shade(value).save(folder.path().join(format!("frame{value}.PNG"))).unwrap();
    }
    for other in ["notes.txt", ".frame3.png", "frame4.mp4"] {
        fs::write(folder.path().join(other), "not a picture").unwrap();
    }
    fs::create_dir(folder.path().join("frame5.png")).unwrap();
    let clip = Clip::open(folder.path()).unwrap();
    assert_eq!(clip.frames(), 4);
    assert!(clip.read(&[0, 1, 2, 3]).unwrap() == [1, 2, 10, 100].map(shade));
}

#[test]
fn a_still_picture_is_one_frame() {
    for name in ["rgb_333x217.png", "exif6_300x200.jpg"] {
        let path = golden("../images").join(name);
        let clip = Clip::open(&path).unwrap();
        assert_eq!(clip.frames(), 1);
        assert!(clip.read(&[0]).unwrap() == [open_picture(&path).unwrap()]);
    }
}

#[test]
fn what_is_no_clip_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, contents: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, contents).unwrap();
        Clip::open(&path)
    };
    assert!(matches!(Clip::open(folder.path()), Err(ClipError::NoPictures { .. })));
    assert!(matches!(Clip::open("no/such".as_ref()), Err(ClipError::Read { .. })));
    assert!(matches!(file("empty.gif", b""), Err(ClipError::NotPictures { .. })));
    let video = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41";
    assert!(matches!(file("clip.gif", video), Err(ClipError::NotPictures { .. })));
    for name in ["parts.gif", "parts.webp", "parts.png"] {
        let whole = fs::read(golden(name)).unwrap();
        let cut = file(name, &whole[..whole.len() / 2]);
        let in_picture = matches!(cut, Err(ClipError::Picture(PictureError::File { .. })));
        assert!(in_picture, "{name}: {cut:?}");
    }
    // A header, the trailer at once, and a byte that the decoder wants to see after it.
    let empty = file("none.gif", b"GIF89a\x03\0\x02\0\0\0\0;\0");
    let named = matches!(&empty, Err(ClipError::NoFrames { path }) if path.ends_with("none.gif"));
    assert!(named, "{empty:?}");
    assert!(!empty.unwrap_err().to_string().contains("folder"));
    // A header of 65535 x 65535 pixels, twelve gigabytes a frame.
    let mut bomb = fs::read(golden("parts.gif")).unwrap();
    bomb[6..10].fill(0xff);
    let Err(ClipError::Picture(PictureError::File { source, .. })) = file("bomb.gif", &bomb) else {
        panic!("a bomb was opened");
    };
    assert!(matches!(*source, PictureError::TooLarge { width: 65_535, height: 65_535, .. }));
}

#[test]
fn frames_are_chosen_by_the_rule() {
    assert_eq!(choose(Some(4), None, 8), [1, 3, 5, 7]);
    assert_eq!(choose(Some(3), None, 30), [5, 15, 25]);
    assert_eq!(choose(Some(1), None, 5), [2]);
    assert_eq!(choose(None, None, 3), [0, 1, 2]);
    assert_eq!(choose(None, None, 1000).len(), 16);
    assert_eq!(choose(Some(4), Some(9), 100), [0, 9, 18, 27]);
    assert_eq!(choose(None, Some(9), 20), [0, 9, 18]);
    assert_eq!(choose(None, Some(1), 40), (0..16).collect::<Vec<_>>());
    let said = FrameChoice { count: Some(16), stride: Some(9) }.of(100).unwrap_err().to_string();
    assert_eq!(
        said,
        "16 frames were asked for, the clip has 12 at a stride of 9: ask for 12 or fewer"
    );
    assert!(FrameChoice { count: Some(4), stride: None }.of(3).is_err());
}

#[test]
fn names_tell_pictures() {
    for (name, is) in [
        ("a.png", true),
        ("b/A.JPG", true),
        ("a.jpeg", true),
        ("a.webp", true),
        ("a.tif", true),
        ("a.txt", false),
        ("png", false),
        (".a.png", false),
        ("a.avif", false),
    ] {
        assert_eq!(is_picture_name(name.as_ref()), is, "{name}");
    }
}

/// What a clip of these bytes is found to be; its frames must then be as many.
fn opened(path: &Path, bytes: &[u8]) -> Result<usize, ClipError> {
    fs::write(path, bytes).unwrap();
    let clip = Clip::open(path)?;
    let every: Vec<usize> = (0..clip.frames()).collect();
    let frames = clip.read(&every)?;
    assert_eq!(frames.len(), every.len());
    Ok(frames.len())
}

const ANIMATIONS: [&str; 5] =
    ["parts.gif", "cleared.gif", "parts.webp", "cleared.webp", "parts.png"];

#[test]
fn a_clip_that_is_cut_off_anywhere_is_an_error_or_shorter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut");
    for name in ANIMATIONS {
        let whole = fs::read(golden(name)).unwrap();
        for end in 0..whole.len() {
            if let Ok(frames) = opened(&path, &whole[..end]) {
                assert!(frames <= 5, "{name}, {end} of {} bytes", whole.len());
            }
        }
        assert_eq!(opened(&path, &whole).unwrap(), 5);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_damaged_clip_is_an_error_or_frames(
        name in prop::sample::select(&ANIMATIONS[..]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = fs::read(golden(name)).unwrap();
        // Sizes stay, of which other tests are: a picture of a gigabyte takes its time.
        let start = 32;
        for (place, value) in damage {
            let place = start + place.index(bytes.len() - start);
            bytes[place] = value;
        }
        let folder = tempfile::tempdir().unwrap();
        // The decoders are other people's: what they make of it does not matter.
        if let Err(error) = opened(&folder.path().join(name), &bytes) {
            prop_assert!(error.to_string().contains(name));
        }
    }
}

proptest! {
    #[test]
    fn chosen_frames_ascend_within_the_clip(total in 1usize..5000, count in 1usize..64) {
        let count = count.min(total);
        let chosen = choose(Some(count), None, total);
        prop_assert_eq!(chosen.len(), count);
        for (i, place) in chosen.iter().enumerate() {
            // Each in its own part of the clip.
            prop_assert!(i * total < place * count + count && place * count < (i + 1) * total);
        }
        prop_assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn strided_frames_are_those_there_are(
        total in 1usize..5000, stride in 1usize..100, count in 1usize..64,
    ) {
        let every: Vec<usize> = (0..total).step_by(stride).collect();
        match (FrameChoice { count: Some(count), stride: Some(stride) }).of(total) {
            Ok(chosen) => prop_assert_eq!(&chosen[..], &every[..count]),
            Err(_) => prop_assert!(every.len() < count),
        }
    }
}
