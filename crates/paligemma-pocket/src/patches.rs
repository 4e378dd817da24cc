//! What each patch of a picture shows: targets for teaching the tower before it meets any text.

use crate::mention::Mention;
use crate::scene::{GLYPHS, PADDING, PlatedText, SIDE, Scene};
use crate::thing::{Shape, Thing};

/// Number of classes: the ground, every shape in every colour, and the plate.
pub const CLASSES: usize = 42;

/// The class of patches that show a plate.
pub const PLATE: u8 = 41;

/// Sample points along each side of a patch.
const SAMPLES: usize = 7;
/// Share of a patch that something must cover to own it.
const LEAST_SHARE: f32 = 0.1;

/// For each patch, row by row: its class (0 the ground, 1 to 40 a thing by [`Thing::class`],
/// [`PLATE`] the plate) and the box `[x0, y0, x1, y1]` of what it shows, as fractions of the
/// picture; zeros for the ground. A patch belongs to what covers most of it, if that is a tenth.
pub fn patch_targets(scene: &Scene, patch: usize) -> (Vec<u8>, Vec<[f32; 4]>) {
    let across = SIDE as usize / patch;
    (0..across * across)
        .map(|index| {
            let corner = [(index % across * patch) as f32, (index / across * patch) as f32];
            owner(scene, corner, patch as f32)
        })
        .unzip()
}

/// For each class of [`patch_targets`], whether it is that of a thing in the scene which `mention`
/// means.
pub fn meant_classes(scene: &Scene, mention: Mention) -> [bool; CLASSES] {
    let mut meant = [false; CLASSES];
    for thing in scene.things.iter().filter(|thing| mention.means(thing)) {
        meant[usize::from(thing.class())] = true;
    }
    meant
}

/// Class and box of what covers most of the square patch at `corner`.
fn owner(scene: &Scene, corner: [f32; 2], patch: f32) -> (u8, [f32; 4]) {
    let things = scene.things.iter().map(|thing| {
        (share(corner, patch, thing.box_, |at| covers(thing, at)), thing.class(), thing.box_)
    });
    let plate = scene.plates.iter().map(|text| {
        (share(corner, patch, text.box_, |at| inside(text.box_, at)), PLATE, text.box_)
    });
    let most = things.chain(plate).max_by(|a, b| a.0.total_cmp(&b.0));
    match most {
        Some((share, class, box_)) if share >= LEAST_SHARE => {
            (class, box_.map(|pixels| pixels / SIDE as f32))
        }
        _ => (0, [0.0; 4]),
    }
}

/// A character that a patch shows part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The patch, row by row, and which half of it: 0 the left, 1 the right.
    pub place: [usize; 2],
    /// The character's number in [`GLYPHS`].
    pub glyph: usize,
    /// How many characters stand before it on its plate.
    pub index: usize,
}

/// The character at the middle of the left and of the right half of each patch, where the patch
/// shows at least a quarter of its own height of it. Letters are wider than half a patch, so none
/// is passed over.
pub fn letter_targets(scene: &Scene, patch: usize) -> Vec<Letter> {
    let across = SIDE as usize / patch;
    let halves = (0..across * across).flat_map(|index| [[index, 0], [index, 1]]);
    halves
        .filter_map(|[index, half]| {
            let x = (index % across * patch) as f32 + patch as f32 * (0.25 + 0.5 * half as f32);
            let top = (index / across * patch) as f32;
            let shown = scene.plates.iter().find_map(|text| letter(text, x, top, patch as f32));
            shown.map(|(glyph, position)| Letter { place: [index, half], glyph, index: position })
        })
        .collect()
}

/// Number in [`GLYPHS`] and position of the character of `text` at `x`, if enough of it stands
/// between `top` and `height` below that.
fn letter(text: &PlatedText, x: f32, top: f32, height: f32) -> Option<(usize, usize)> {
    let (first, line) = (text.box_[0] + PADDING, text.box_[1] + PADDING);
    let shown = (line + text.cap_height).min(top + height) - line.max(top);
    if shown < 0.25 * height || x < first {
        return None;
    }
    let index = ((x - first) / text.advance()) as usize;
    let character = *text.text.as_bytes().get(index)?;
    Some((GLYPHS.iter().position(|&glyph| glyph == character)?, index))
}

/// Share of the sample points of a patch that `inside` takes; points are tried only where the box
/// of what is sought meets the patch.
fn share(corner: [f32; 2], patch: f32, box_: [f32; 4], inside: impl Fn([f32; 2]) -> bool) -> f32 {
    let apart =
        (0..2).any(|axis| box_[axis] >= corner[axis] + patch || box_[axis + 2] <= corner[axis]);
    if apart {
        return 0.0;
    }
    let place = |index: usize| (index as f32 + 0.5) * patch / SAMPLES as f32;
    let hits = (0..SAMPLES * SAMPLES)
        .map(|index| [corner[0] + place(index % SAMPLES), corner[1] + place(index / SAMPLES)])
        .filter(|&at| inside(at))
        .count();
    hits as f32 / (SAMPLES * SAMPLES) as f32
}

fn inside([x0, y0, x1, y1]: [f32; 4], [x, y]: [f32; 2]) -> bool {
    (x0..x1).contains(&x) && (y0..y1).contains(&y)
}

/// Whether a thing covers a point, in pixels.
fn covers(thing: &Thing, at: [f32; 2]) -> bool {
    if !inside(thing.box_, at) {
        return false;
    }
    let [x0, y0, x1, y1] = thing.box_;
    let (u, v) = ((at[0] - x0) / (x1 - x0), (at[1] - y0) / (y1 - y0));
    match thing.shape {
        Shape::Circle => (u - 0.5).hypot(v - 0.5) <= 0.5,
        Shape::Square => true,
        shape => shape.corners().is_some_and(|corners| encloses(&corners, u, v)),
    }
}

/// Whether a ray from the point to the right crosses the outline an odd number of times.
fn encloses(corners: &[[f32; 2]], u: f32, v: f32) -> bool {
    let next = corners.iter().cycle().skip(1);
    let crossed = corners.iter().zip(next).filter(|&(a, b)| {
        (a[1] > v) != (b[1] > v) && u < a[0] + (v - a[1]) / (b[1] - a[1]) * (b[0] - a[0])
    });
    crossed.count() % 2 == 1
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "boxes are handed on by the same arithmetic")]
mod tests {
    use super::*;

    #[test]
    fn every_thing_and_plate_owns_a_patch_and_the_ground_owns_the_rest() {
        for seed in 0..3000 {
            let scene = Scene::generate(seed, 1..=4);
            let (classes, boxes) = patch_targets(&scene, 14);
            assert_eq!((classes.len(), boxes.len()), (64, 64));
            for thing in &scene.things {
                let fractions = thing.box_.map(|pixels| pixels / 112.0);
                let owned = classes.iter().zip(&boxes);
                let owned = owned.filter(|&(&c, &b)| c == thing.class() && b == fractions).count();
                assert!((1..=16).contains(&owned), "{seed}: {thing:?} owns {owned}");
            }
            assert_eq!(classes.contains(&PLATE), !scene.plates.is_empty());
            assert!(classes.iter().all(|&class| usize::from(class) < CLASSES));
            for (class, box_) in classes.iter().zip(&boxes) {
                assert_eq!(*class == 0, *box_ == [0.0; 4]);
            }
        }
    }

    #[test]
    fn every_letter_of_every_plate_is_shown_by_a_patch() {
        for seed in 0..1000 {
            let scene =
                if seed % 2 == 0 { Scene::page(seed) } else { Scene::generate(seed, 1..=2) };
            let letters = letter_targets(&scene, 14);
            for plate in &scene.plates {
                for (index, character) in plate.text.bytes().enumerate() {
                    let shown = letters
                        .iter()
                        .filter(|l| (GLYPHS[l.glyph], l.index) == (character, index))
                        .count();
                    assert!(shown > 0, "{seed}: {} {index}", plate.text);
                }
            }
            assert!(letters.iter().all(|l| l.place[0] < 64 && l.place[1] < 2));
            assert_eq!(letters.is_empty(), scene.plates.is_empty());
        }
    }

    #[test]
    fn coverage_agrees_with_what_is_drawn() {
        for seed in 0..25 {
            let mut scene = Scene::generate(seed, 1..=4);
            scene.plates.clear();
            scene.ground = crate::scene::Ground::Plain([120, 124, 128]);
            let picture = scene.render();
            for (x, y, pixel) in picture.enumerate_pixels() {
                // Pixels crossed by an outline are blends: only whole ones are compared.
                let around = |thing: &Thing| {
                    let reach = |i: usize| (i as f32 - 3.0) * 0.3 + 0.5;
                    (0..49)
                        .filter(|i| {
                            covers(thing, [x as f32 + reach(i % 7), y as f32 + reach(i / 7)])
                        })
                        .count()
                };
                let covered: Vec<usize> = scene.things.iter().map(around).collect();
                for (thing, &count) in scene.things.iter().zip(&covered) {
                    if count == 49 {
                        assert_eq!(pixel.0, thing.paint, "{seed} {x} {y} {:?}", thing.shape);
                    }
                }
                if covered.iter().all(|&count| count == 0) {
                    assert_eq!(pixel.0, [120, 124, 128], "{seed} {x} {y}");
                }
            }
        }
    }
}
