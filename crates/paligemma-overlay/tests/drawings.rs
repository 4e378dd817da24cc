//! Drawings, pixel by pixel where it matters.

use paligemma_overlay::{Thing, draw};
use paligemma_processor::Bitmap;
use paligemma_processor::image::{Rgb, RgbImage};

/// The colour of the first label.
const ORANGE: [u8; 3] = [230, 159, 0];
/// The colour of the second.
const BLUE: [u8; 3] = [86, 180, 233];
const GROUND: [u8; 3] = [10, 20, 30];

fn thing(label: &str, edges: [f32; 4]) -> Thing<'_> {
    Thing { label, confidence: Some(0.5), edges, mask: None }
}

fn ground() -> RgbImage {
    RgbImage::from_pixel(300, 200, Rgb(GROUND))
}

#[test]
fn a_box_is_framed_and_its_inside_kept() {
    let drawing = draw(&ground(), &[thing("cat", [100.0, 80.0, 220.0, 180.0])]);
    for (x, y) in [(100, 80), (219, 80), (100, 179), (219, 179), (150, 179), (100, 120)] {
        assert_eq!(drawing.get_pixel(x, y).0, ORANGE, "{x} {y}");
    }
    for (x, y) in [(99, 120), (220, 120), (150, 130), (150, 180), (5, 5)] {
        assert_eq!(drawing.get_pixel(x, y).0, GROUND, "{x} {y}");
    }
}

#[test]
fn a_mask_is_tinted_and_outlined() {
    let hole = |x: u32, y: u32| (150..160).contains(&x) && (120..130).contains(&y);
    let mask = Bitmap::from_fn(300, 200, |x, y| {
        (120..200).contains(&x) && (90..170).contains(&y) && !hole(x, y)
    });
    // The box reaches further than the mask.
    let cat = Thing { mask: Some(&mask), ..thing("cat", [110.0, 80.0, 220.0, 180.0]) };
    let drawing = draw(&ground(), &[cat]);
    let solid = [(120, 90), (199, 169), (120, 130), (160, 90), (149, 125), (160, 125), (155, 130)];
    for (x, y) in solid {
        assert_eq!(drawing.get_pixel(x, y).0, ORANGE, "{x} {y}");
    }
    for (x, y) in [(119, 130), (200, 130), (160, 89), (155, 125)] {
        assert_eq!(drawing.get_pixel(x, y).0, GROUND, "{x} {y}");
    }
    let Rgb(tinted) = *drawing.get_pixel(140, 110);
    for ((ground, colour), tinted) in GROUND.into_iter().zip(ORANGE).zip(tinted) {
        let share = (i32::from(tinted) - i32::from(ground)) as f32
            / (i32::from(colour) - i32::from(ground)) as f32;
        assert!((share - 0.45).abs() < 0.05, "{tinted} of {ground} and {colour}");
    }
}

#[test]
fn labels_stand_above_masks_in_the_colours_of_their_things() {
    let mask = Bitmap::from_fn(300, 200, |_, _| true);
    let below = Thing { mask: Some(&mask), ..thing("all", [0.0, 0.0, 300.0, 200.0]) };
    let drawing = draw(&ground(), &[thing("cat", [100.0, 80.0, 220.0, 180.0]), below]);
    // Left of the letters, on the plate above the box.
    assert_eq!(drawing.get_pixel(101, 79).0, ORANGE);
    assert_eq!(drawing.get_pixel(1, 1).0, BLUE);
    let plate = (100..130).flat_map(|x| (68..79).map(move |y| (x, y)));
    let dark = plate.filter(|&(x, y)| drawing.get_pixel(x, y).0[0] < ORANGE[0] / 2).count();
    assert!((10..200).contains(&dark), "letters are black on a light plate: {dark}");
    // The picture itself is as it was.
    assert_eq!(ground().get_pixel(0, 0).0, GROUND);
}

#[test]
fn every_label_has_a_plate_of_its_colour() {
    let names: Vec<String> = (0..9).map(|index| format!("thing {index}")).collect();
    let things: Vec<Thing<'_>> = (0_u8..)
        .zip(&names)
        .map(|(index, name)| thing(name, [0.0, 20.0 * f32::from(index), 30.0, 200.0]))
        .collect();
    let drawing = draw(&RgbImage::new(112, 200), &things);
    let plates = [ORANGE, BLUE, [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0]];
    for colour in plates {
        assert!(drawing.pixels().any(|pixel| pixel.0 == colour), "{colour:?}");
    }
}

#[test]
fn things_outside_or_without_area_do_no_harm() {
    let edges = [-50.0, -50.0, 1e9, 1e9];
    let far = [f32::NEG_INFINITY, f32::NAN, f32::INFINITY, 5.0];
    let other = Bitmap::from_fn(50, 40, |_, _| true);
    let empty = Bitmap::from_fn(20, 10, |_, _| false);
    for corners in [edges, far, [5.0, 5.0, 5.0, 5.0], [900.0, 900.0, 950.0, 950.0]] {
        for mask in [None, Some(&other), Some(&empty)] {
            let thing = Thing { mask, ..thing("a very long label", corners) };
            assert_eq!(draw(&RgbImage::new(20, 10), &[thing]).dimensions(), (20, 10));
        }
    }
    assert_eq!(draw(&ground(), &[]), ground());
    let nameless = Thing { label: "", confidence: None, ..thing("", [5.0, 5.0, 9.0, 9.0]) };
    assert_eq!(draw(&ground(), &[nameless]).get_pixel(5, 5).0, ORANGE);
}
