//! Masks against Pillow, TensorFlow's resize and pycocotools, and their outlines.

use std::fs;
use std::sync::LazyLock;

use paligemma_processor::{Bitmap, MASK_SIDE, Polygon, Rle, RleError, SoftMask, crop_mask};
use proptest::prelude::*;
use serde_json::Value;

static GOLDEN: LazyLock<Value> = LazyLock::new(|| {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/masks/bitmaps.json");
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
});

fn cases(name: &str) -> &'static [Value] {
    GOLDEN[name].as_array().unwrap()
}

fn numbers(values: &Value) -> Vec<f32> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect()
}

fn four(values: &Value) -> [f32; 4] {
    numbers(values).try_into().unwrap()
}

fn whole(values: &Value) -> Vec<u32> {
    numbers(values).into_iter().map(|number| number as u32).collect()
}

fn picture() -> (u32, u32) {
    let sides = whole(&GOLDEN["picture"]);
    (sides[0], sides[1])
}

fn largest_difference(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The bitmaps of `make_bitmaps.py`.
fn bitmap(name: &str) -> Bitmap {
    let disc = |x: u32, y: u32| {
        let [x, y] = [x, y].map(i64::from);
        (x - 40).pow(2) + (y - 30).pow(2) < 625
    };
    match name {
        "noise" => Bitmap::from_fn(97, 61, |x, y| (x * x * 31 + y * 17 + x * y * 7) % 11 < 4),
        "disc" => Bitmap::from_fn(150, 110, disc),
        "stripes" => Bitmap::from_fn(1000, 700, |x, y| (x + y / 350) % 300 < 250),
        "all" => Bitmap::from_fn(13, 8, |_, _| true),
        "none" => Bitmap::from_fn(13, 8, |_, _| false),
        "pixel" => Bitmap::from_fn(1, 1, disc),
        other => panic!("no bitmap {other}"),
    }
}

#[test]
fn a_mask_is_laid_over_its_box_as_the_evaluator_does() {
    let soft: Vec<f32> = (0..MASK_SIDE * MASK_SIDE)
        .map(|at| (at % MASK_SIDE, at / MASK_SIDE))
        .map(|(x, y)| ((x * 7 + y * 13 + x * y) % 41) as f32 / 16.0 - 1.25)
        .collect();
    for case in cases("pasted") {
        let mask = SoftMask::in_box(&soft, four(&case["box"]), picture());
        assert_eq!(mask.edges().to_vec(), whole(&case["edges"]));
        let theirs = numbers(&case["values"]);
        assert!(largest_difference(mask.values(), &theirs) < 1e-6, "{}", case["box"]);
        let bitmap = mask.bitmap();
        assert_eq!(bitmap.dimensions(), picture());
        assert_eq!(bitmap.area(), theirs.iter().filter(|value| **value > 0.0).count());
        let [x0, y0, x1, _] = mask.edges();
        for (at, value) in (0..).zip(&theirs) {
            let (x, y) = (x0 + at % (x1 - x0), y0 + at / (x1 - x0));
            assert_eq!(bitmap.get(x, y), *value > 0.0);
        }
    }
}

#[test]
fn boxes_without_a_pixel_or_outside_have_no_mask() {
    let soft = vec![1.0; MASK_SIDE * MASK_SIDE];
    for edges in [
        [10.2, 10.2, 10.9, 50.0],
        [20.0, 20.0, 10.0, 10.0],
        [200.0, 0.0, 300.0, 50.0],
        [-9.0, -9.0, -1.0, -1.0],
        [f32::NAN; 4],
    ] {
        let mask = SoftMask::in_box(&soft, edges, (100, 80));
        assert_eq!((mask.values().len(), mask.bitmap().area()), (0, 0), "{edges:?}");
        let crop = crop_mask(&bitmap("disc"), edges);
        assert_eq!(crop.len(), MASK_SIDE * MASK_SIDE);
    }
    let mask = SoftMask::in_box(&soft, [f32::NEG_INFINITY, -3.0, 1e9, f32::INFINITY], (10, 8));
    assert_eq!(mask.bitmap().area(), 80);
}

#[test]
fn a_mask_is_cropped_to_its_box_as_for_training() {
    for case in cases("cropped") {
        let crop = crop_mask(&bitmap("disc"), four(&case["box"]));
        let theirs = numbers(&case["values"]);
        assert!(largest_difference(&crop, &theirs) < 1e-5, "{}", case["box"]);
    }
}

#[test]
fn run_lengths_are_those_of_pycocotools() {
    for case in cases("coco") {
        let name = case["name"].as_str().unwrap();
        let mask = bitmap(name);
        let rle = Rle::of(&mask);
        assert_eq!(
            (rle.size.to_vec(), &rle.counts),
            (whole(&case["size"]), &whole(&case["counts"]))
        );
        let text = case["compressed"].as_str().unwrap();
        assert_eq!(rle.compressed(), text, "{name}");
        assert_eq!(Rle::from_compressed(rle.size, text).unwrap(), rle);
        assert_eq!(rle.bitmap().unwrap(), mask);
        assert_eq!(mask.area(), case["area"].as_u64().unwrap() as usize);
        let [x, y, width, height] = four(&case["bbox"]).map(|number| number as u32);
        let bounds = (width > 0).then_some([x, y, x + width, y + height]);
        assert_eq!(mask.bounds(), bounds, "{name}");
    }
}

#[test]
fn run_lengths_that_lie_are_refused() {
    let of = |size, counts: &[u32]| Rle { size, counts: counts.to_vec() }.bitmap();
    assert!(matches!(of([2, 3], &[1, 4]), Err(RleError::Length { expected: 6, found: 5 })));
    assert!(of([2, 3], &[u32::MAX, u32::MAX]).is_err());
    assert!(matches!(of([u32::MAX, 1], &[u32::MAX]), Err(RleError::Size { .. })));
    for text in ["P", "0P", "~", "1 2", "ooooooooooooo0", "é"] {
        assert!(Rle::from_compressed([2, 3], text).is_err(), "{text}");
    }
}

#[test]
fn a_ring_has_an_outline_and_a_hole() {
    let inside = |low: u32, high: u32, x, y| (low..high).contains(&x) && (low..high).contains(&y);
    let ring = Bitmap::from_fn(9, 9, |x, y| inside(1, 8, x, y) && !inside(3, 6, x, y));
    let polygons = Polygon::of(&ring);
    let [Polygon { outline, holes }] = &*polygons else { panic!("{polygons:?}") };
    // The corners are cut off, between the middles of the sides of the outermost pixels.
    assert_eq!(outline.len(), 8);
    assert!(outline.contains(&[1.0, 1.5]) && outline.contains(&[7.5, 8.0]), "{outline:?}");
    assert_eq!((holes.len(), holes[0].len()), (1, 8));
}

/// Whether a point is within the lines, by the number of them to its right.
fn is_inside<'a>([x, y]: [f32; 2], lines: impl Iterator<Item = &'a Vec<[f32; 2]>>) -> bool {
    let crosses = |[a, b]: [[f32; 2]; 2]| {
        let between = (a[1] > y) != (b[1] > y);
        between && x < a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0])
    };
    let pairs = |line: &Vec<[f32; 2]>| {
        let next = line.iter().cycle().skip(1).copied();
        line.iter().copied().zip(next).filter(|&(a, b)| crosses([a, b])).count()
    };
    lines.map(pairs).sum::<usize>() % 2 == 1
}

fn any_bitmap() -> impl Strategy<Value = Bitmap> {
    (1..24_u32, 1..24_u32).prop_flat_map(|(width, height)| {
        let bits = prop::collection::vec(any::<bool>(), (width * height) as usize);
        bits.prop_map(move |bits| {
            Bitmap::from_fn(width, height, |x, y| bits[(y * width + x) as usize])
        })
    })
}

proptest! {
    #[test]
    fn a_pixel_belongs_if_its_centre_is_in_a_polygon(mask in any_bitmap()) {
        let polygons = Polygon::of(&mask);
        let (width, height) = mask.dimensions();
        for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
            let centre = [x as f32 + 0.5, y as f32 + 0.5];
            let within = |polygon: &Polygon| {
                is_inside(centre, std::iter::once(&polygon.outline).chain(&polygon.holes))
            };
            prop_assert_eq!(polygons.iter().any(within), mask.get(x, y), "{} {}", x, y);
        }
    }

    #[test]
    fn run_lengths_are_read_back(mask in any_bitmap()) {
        let rle = Rle::of(&mask);
        prop_assert_eq!(&Rle::from_compressed(rle.size, &rle.compressed()).unwrap(), &rle);
        prop_assert_eq!(rle.bitmap().unwrap(), mask);
    }

    #[test]
    fn any_string_is_read_or_refused(text in "[0-o]{0,40}|\\PC{0,20}", size in any::<[u32; 2]>()) {
        if let Ok(rle) = Rle::from_compressed(size, &text) {
            let pixels = u64::from(size[0]) * u64::from(size[1]);
            let found: u64 = rle.counts.iter().map(|&count| u64::from(count)).sum();
            prop_assert!(rle.bitmap().is_err() || found == pixels);
        }
    }

    #[test]
    fn a_mask_is_cropped_out_where_it_was_laid(x0 in 0..60_u32, y0 in 0..40_u32, w in 8..40_u32, h in 8..40_u32) {
        // Half a mask: what is laid over a box and cut out again is half a mask.
        let soft: Vec<f32> = (0..MASK_SIDE * MASK_SIDE)
            .map(|at| if at % MASK_SIDE < MASK_SIDE / 2 { 1.0 } else { -1.0 })
            .collect();
        let edges = [x0, y0, x0 + w, y0 + h].map(|edge| edge as f32);
        let crop = crop_mask(&SoftMask::in_box(&soft, edges, (100, 80)).bitmap(), edges);
        for (at, value) in crop.iter().enumerate() {
            let from_middle = (at % MASK_SIDE).abs_diff(MASK_SIDE / 2);
            let expected = f32::from(u8::from(at % MASK_SIDE < MASK_SIDE / 2));
            // A pixel of the box is up to 8 of the crop.
            prop_assert!(from_middle <= 16 || (value - expected).abs() < 1e-6);
        }
    }
}

#[test]
fn outlines_are_filled_as_pycocotools_does() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/masks/outlines.json");
    let cases: Vec<Value> = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert!(cases.len() > 15);
    for case in &cases {
        let size: [u32; 2] = whole(&case["size"]).try_into().unwrap();
        let fill = |outline: &Value| {
            let numbers = outline.as_array().unwrap().iter().map(|value| value.as_f64().unwrap());
            let numbers: Vec<f64> = numbers.collect();
            Rle::of_outline(numbers.as_chunks().0, size)
        };
        let outlines = case["outlines"].as_array().unwrap();
        let masks = outlines.iter().map(|outline| fill(outline).bitmap().unwrap());
        let mask = masks.reduce(|all, mask| all.union(&mask)).unwrap();
        assert_eq!(mask.area() as u64, case["area"].as_u64().unwrap());
        assert_eq!(Rle::of(&mask).compressed(), case["compressed"].as_str().unwrap(), "{case}");
        if let [outline] = &outlines[..] {
            assert_eq!(fill(outline).compressed(), case["compressed"].as_str().unwrap(), "{case}");
        }
    }
    assert_eq!(Rle::of_outline(&[], [3, 2]).counts, [6]);
    let far = [[f64::MAX, 0.0], [f64::NAN, f64::MIN], [-1e30, 1e30]];
    Rle::of_outline(&far, [3, 2]).bitmap().unwrap();
}
