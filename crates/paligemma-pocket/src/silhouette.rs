//! Masks of more outlines than scenes have, from which the codes of masks are learned.

use paligemma_processor::crop_mask;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tiny_skia::{FillRule, Path, PathBuilder, Pixmap, Rect, Transform};

use crate::draw::{covered, outline, solid};
use crate::thing::Shape;

/// Sides of the box of an outline, in pixels of the picture that it is cut from.
const SIDES: std::ops::RangeInclusive<f32> = 15.0..=128.0;
/// Room around the box in that picture, in pixels.
const ROOM: f32 = 2.0;

/// The mask of an outline within its box, as [`crop_mask`] gives it: the shape of a thing, that
/// shape turned, or any polygon, large or small, at times partly hidden. A pure function of the
/// seed.
///
/// # Panics
/// Never: the picture that it draws has a size above zero.
pub fn silhouette(seed: u64) -> Vec<f32> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let sides = [rng.random_range(SIDES), rng.random_range(SIDES)];
    let corner = [ROOM + rng.random::<f32>(), ROOM + rng.random::<f32>()];
    let box_ = [corner[0], corner[1], corner[0] + sides[0], corner[1] + sides[1]];
    let size = |axis: usize| (box_[axis + 2] + ROOM).ceil() as u32;
    let mut pixels = Pixmap::new(size(0), size(1)).expect("a size above zero");
    let mut fill = |path: Option<Path>, level: u8| {
        let identity = Transform::identity();
        if let Some(path) = path {
            pixels.fill_path(&path, &solid([level; 3]), FillRule::Winding, identity, None);
        }
    };
    fill(drawn(&mut rng).and_then(|path| fitted(path, box_)), 255);
    if rng.random_bool(0.25) {
        fill(drawn(&mut rng).and_then(|path| fitted(path, beside(box_, &mut rng))), 0);
    }
    crop_mask(&covered(&pixels), box_)
}

/// An outline of any kind and extent.
fn drawn(rng: &mut SmallRng) -> Option<Path> {
    let unit = [0.0, 0.0, 1.0, 1.0];
    let shape = Shape::ALL[rng.random_range(0..Shape::ALL.len())];
    match rng.random_range(0..3) {
        0 => outline(shape, unit),
        1 => {
            let stretched = [0.0, 0.0, 1.0, rng.random_range(0.4..1.0)];
            let turn = Transform::from_rotate(rng.random_range(0.0..360.0));
            outline(shape, stretched)?.transform(turn)
        }
        _ => polygon(rng),
    }
}

/// Corners around a middle, some of them farther from it than others.
fn polygon(rng: &mut SmallRng) -> Option<Path> {
    let corners = rng.random_range(3..=10);
    let mut builder = PathBuilder::new();
    for index in 0..corners {
        let turn = (index as f32 + rng.random_range(-0.3..0.3)) / corners as f32;
        let (sin, cos) = (std::f32::consts::TAU * turn).sin_cos();
        let radius = rng.random_range(0.4..=1.0);
        let (x, y) = (radius * cos, radius * sin);
        if index == 0 { builder.move_to(x, y) } else { builder.line_to(x, y) }
    }
    builder.close();
    builder.finish()
}

/// The outline moved and stretched to fill a box; none where either is empty.
fn fitted(path: Path, [x0, y0, x1, y1]: [f32; 4]) -> Option<Path> {
    let from: Rect = path.compute_tight_bounds()?;
    let scale = [(x1 - x0) / from.width(), (y1 - y0) / from.height()];
    let shift = [x0 - from.left() * scale[0], y0 - from.top() * scale[1]];
    path.transform(Transform::from_row(scale[0], 0.0, 0.0, scale[1], shift[0], shift[1]))
}

/// A box that hides an edge or a corner of another.
fn beside([x0, y0, x1, y1]: [f32; 4], rng: &mut SmallRng) -> [f32; 4] {
    let (width, height) = (x1 - x0, y1 - y0);
    let mut shift = |extent: f32| {
        let shift = extent * rng.random_range(0.5..1.0);
        if rng.random_bool(0.5) { shift } else { -shift }
    };
    let (right, down) = (shift(width), shift(height));
    [x0 + right, y0 + down, x1 + right, y1 + down]
}

#[cfg(test)]
mod tests {
    use paligemma_processor::MASK_SIDE;

    use super::*;

    #[test]
    fn a_silhouette_is_a_pure_function_of_its_seed_and_shows_something() {
        for seed in 0..500 {
            let mask = silhouette(seed);
            assert_eq!(mask, silhouette(seed));
            assert_ne!(mask, silhouette(seed + 1));
            assert_eq!(mask.len(), MASK_SIDE * MASK_SIDE);
            assert!(mask.iter().all(|cover| (0.0..=1.0).contains(cover)));
            assert!(mask.iter().sum::<f32>() > 200.0, "{seed}");
        }
    }

    #[test]
    fn whole_outlines_reach_all_four_sides() {
        let reaches = |seed: &u64| {
            let mask = silhouette(*seed);
            let shown = |i: &usize| mask[*i] > 0.25;
            (0..MASK_SIDE).any(|x| shown(&x))
                && (0..MASK_SIDE).any(|x| shown(&(MASK_SIDE * (MASK_SIDE - 1) + x)))
                && (0..MASK_SIDE).any(|y| shown(&(MASK_SIDE * y)))
                && (0..MASK_SIDE).any(|y| shown(&(MASK_SIDE * y + MASK_SIDE - 1)))
        };
        // Those that are partly hidden, and slender points, do not.
        assert!((0..300).filter(reaches).count() > 150);
    }
}
