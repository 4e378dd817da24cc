//! What crops keep: sizes, areas, boxes, and that they repeat.

use paligemma_processor::{image::RgbImage, parse_detections};
use proptest::prelude::*;

use super::*;

/// A picture whose colours say where each pixel is.
fn map_of(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        [x as u8, y as u8, (x / 256 + 16 * (y / 256)) as u8].into()
    })
}

fn apply(
    augmentation: Augmentation,
    picture: &RgbImage,
    suffix: &str,
    epoch: u64,
) -> (RgbImage, String) {
    let at = Use { seed: 3, epoch, index: 9 };
    let (mut pictures, suffix) = augmentation.apply(vec![picture.clone()], suffix, at);
    (pictures.remove(0), suffix)
}

/// Where a part of [`map_of`] begins.
fn corner(part: &RgbImage) -> (u32, u32) {
    let [x, y, high] = part.get_pixel(0, 0).0.map(u32::from);
    (x + 256 * (high % 16), y + 256 * (high / 16))
}

#[test]
fn names_are_read_as_they_are_written() {
    for (augmentation, name) in NAMES {
        assert_eq!((augmentation.to_string(), name.parse()), (name.to_owned(), Ok(augmentation)));
        assert_eq!(serde_json::to_value(augmentation).unwrap(), name);
    }
    assert!("flip".parse::<Augmentation>().unwrap_err().to_string().contains("box-crop"));
}

#[test]
fn a_use_repeats_and_others_differ() {
    let picture = map_of(90, 70);
    for augmentation in [Augmentation::InceptionCrop, Augmentation::RandomCrop] {
        let one = apply(augmentation, &picture, "cat", 1);
        assert_eq!(apply(augmentation, &picture, "cat", 1), one);
        assert!((2..12).any(|epoch| apply(augmentation, &picture, "cat", epoch) != one));
    }
    let unchanged = apply(Augmentation::None, &picture, "cat", 1);
    assert_eq!(unchanged, (picture.clone(), "cat".to_owned()));
    assert_eq!(apply(Augmentation::BoxCrop, &picture, "cat <loc0001>", 1).0, picture);
    let two = vec![picture.clone(), picture.clone()];
    let suffix = "<loc0100><loc0100><loc0500><loc0500> cat";
    let at = Use { seed: 3, epoch: 1, index: 9 };
    assert_eq!(Augmentation::BoxCrop.apply(two.clone(), suffix, at), (two, suffix.to_owned()));
}

#[test]
fn the_distribution_is_that_of_the_published_op() {
    // Over many draws the area is spread over its whole range, and so is the shape.
    let picture = map_of(400, 300);
    let (mut least, mut most, mut narrow, mut wide) = (1.0_f64, 0.0_f64, 9.0_f64, 0.0_f64);
    for epoch in 0..400 {
        let (part, _) = apply(Augmentation::InceptionCrop, &picture, "", epoch);
        let (width, height) = (f64::from(part.width()), f64::from(part.height()));
        let area = width * height / 120_000.0;
        (least, most) = (least.min(area), most.max(area));
        (narrow, wide) = (narrow.min(width / height), wide.max(width / height));
    }
    assert!((0.5..0.53).contains(&least) && most > 0.85 && most <= 1.0, "{least} {most}");
    assert!((0.74..0.8).contains(&narrow) && (1.3..=1.34).contains(&wide), "{narrow} {wide}");
}

#[test]
fn squares_lie_anywhere() {
    let picture = map_of(64, 80);
    let corners: Vec<_> = (0..300)
        .map(|epoch| {
            let (part, _) = apply(Augmentation::RandomCrop, &picture, "", epoch);
            assert_eq!(part.dimensions(), (56, 56));
            corner(&part)
        })
        .collect();
    for (x, y) in [(0, 0), (8, 24)] {
        assert!(corners.iter().any(|corner| corner.0 == x), "x {x}");
        assert!(corners.iter().any(|corner| corner.1 == y), "y {y}");
    }
}

proptest! {
    #[test]
    fn boxes_stay_whole_and_on_their_things(
        (width, height) in (1_u32..700, 1_u32..700),
        edges in prop::collection::vec((0_u32..1023, 0_u32..1023, 1_u32..400, 1_u32..400), 1..4),
        epoch in 0_u64..50,
    ) {
        let token = |edge: u32| format!("<loc{:04}>", edge.min(1023));
        let one = |(y, x, tall, broad): &(u32, u32, u32, u32)| {
            [*y, *x, y + tall, x + broad].map(token).concat() + "<seg001> cat"
        };
        // One code is no mask, so the boxes are read without it.
        let suffix = edges.iter().map(one).collect::<Vec<_>>().join(" ; ");
        let (part, moved) = apply(Augmentation::BoxCrop, &map_of(width, height), &suffix, epoch);
        let (left, top) = corner(&part);
        let pixels = |text: &str, left: u32, top: u32, (width, height): (u32, u32)| {
            let found = parse_detections(&text.replace("<seg001>", ""));
            found.into_iter().map(move |found| {
                let across = |edge: f32| edge * width as f32 + left as f32;
                let down = |edge: f32| edge * height as f32 + top as f32;
                [across(found.x0), down(found.y0), across(found.x1), down(found.y1)]
            }).collect::<Vec<_>>()
        };
        let before = pixels(&suffix, 0, 0, (width, height));
        let after = pixels(&moved, left, top, part.dimensions());
        prop_assert_eq!(before.len(), after.len());
        // Half a location of the part, and the rounding of f32.
        let bound = part.width().max(part.height()) as f32 / 1023.0 / 2.0 + 1e-3;
        for (before, after) in before.iter().flatten().zip(after.iter().flatten()) {
            prop_assert!((before - after).abs() <= bound, "{} {}", before, after);
        }
        let share = f64::from(part.width() * part.height()) / f64::from(width * height);
        prop_assert!((0.1..=1.0).contains(&share));
    }

    #[test]
    fn no_size_panics((width, height) in (1_u32..40, 1_u32..40), suffix in "[<loc0-9> a]{0,60}") {
        for (augmentation, _) in NAMES {
            let (part, _) = apply(augmentation, &map_of(width, height), &suffix, 0);
            prop_assert!((1..=width).contains(&part.width()));
            prop_assert!((1..=height).contains(&part.height()));
        }
    }
}
