//! Scenes as a pure function of their seed: which things, where, on which ground, with which text.

use std::ops::RangeInclusive;

use rand::Rng;
use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::thing::{Colour, Shape, Size, Thing};

/// Width and height of every picture, in pixels.
pub const SIDE: u32 = 112;

/// Scenes of seeds below this are trained on; those that measure begin here.
pub const FIRST_HELD_OUT_SEED: u64 = 1 << 40;

/// The most things that a scene can hold.
pub const MOST_THINGS: usize = 4;

/// Words that plates carry, in either case. None is a word of the prompts, so the vocabulary spells
/// each letter by letter.
pub const PLATE_WORDS: [&str; 40] = [
    "go", "up", "hi", "ok", "cat", "dog", "sun", "map", "bus", "box", "key", "fox", "sky", "tea",
    "zoo", "web", "jam", "ice", "pen", "van", "moon", "fish", "bird", "tree", "milk", "book",
    "door", "lamp", "cold", "exit", "open", "wave", "taxi", "apple", "house", "river", "bread",
    "quick", "jolly", "stop",
];

/// A word or number on a plate.
#[derive(Clone, Debug, PartialEq)]
pub struct PlatedText {
    /// What is written.
    pub text: String,
    /// Extent of the plate, `[x0, y0, x1, y1]` in pixels.
    pub box_: [f32; 4],
    /// Height of a capital letter, in pixels.
    pub cap_height: f32,
    /// Paint of the plate.
    pub plate: [u8; 3],
    /// Paint of the letters.
    pub ink: [u8; 3],
}

impl PlatedText {
    /// Width of a letter and the space around it, in pixels.
    pub(crate) fn advance(&self) -> f32 {
        (self.box_[2] - self.box_[0] - 2.0 * PADDING) / self.text.len() as f32
    }
}

/// What lies behind the things.
#[derive(Clone, Debug, PartialEq)]
pub enum Ground {
    /// One paint all over.
    Plain([u8; 3]),
    /// From one paint to another along a straight line.
    Gradient {
        /// Paint where the line enters the picture.
        from: [u8; 3],
        /// Paint where the line leaves it.
        to: [u8; 3],
        /// Direction of the line, in radians from the x axis towards the y axis.
        angle: f32,
    },
    /// One paint, each grain lighter or darker than it by chance.
    Noisy {
        /// The paint in the mean.
        paint: [u8; 3],
        /// The most that a grain differs from it, in levels.
        amplitude: u8,
        /// Side of a grain, in pixels.
        grain: u32,
        /// Seed of the grains.
        seed: u64,
    },
}

/// One to four things, no two alike, on a ground, perhaps with a word or number on a plate.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// What the scene is made from.
    pub seed: u64,
    /// The things from left to right by the middles of their boxes.
    pub things: Vec<Thing>,
    /// The plates: at most one beside things, several on a [`Scene::page`].
    pub plates: Vec<PlatedText>,
    /// The ground.
    pub ground: Ground,
}

/// Pixels kept free between any two boxes, and between a box and the edge of the picture.
const GAP: f32 = 3.0;
const EDGE: f32 = 1.0;
/// Pixels between the middles of two things along x, so that left to right is never in doubt.
const STEP: f32 = 8.0;
/// Least distance in RGB between a ground and whatever stands on it.
const CONTRAST: f32 = 96.0;
/// Share of scenes with a plate.
const PLATE_SHARE: f64 = 0.4;
/// Width of a letter and room below the line, in heights of a capital (the font is monospaced).
const ADVANCE: f32 = 0.826;
const DESCENT: f32 = 0.28;
/// Room around the letters on a plate, in pixels.
pub(crate) const PADDING: f32 = 4.0;
/// Characters that plates carry.
pub const GLYPHS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The most characters on a plate.
pub const LONGEST_PLATE: usize = 6;
/// Characters of a plate on a page, and how many plates are tried.
const PAGE_WORD: RangeInclusive<usize> = 1..=LONGEST_PLATE;
const PAGE_TRIES: usize = 12;
/// Plates and their inks.
const PLATES: [([u8; 3], [u8; 3]); 4] = [
    ([236, 228, 204], [30, 26, 30]),
    ([200, 212, 224], [16, 24, 60]),
    ([58, 68, 80], [240, 240, 232]),
    ([92, 60, 48], [250, 236, 210]),
];

impl Scene {
    /// The scene of `seed` with a number of things from `things`, which is clamped to 1 to
    /// [`MOST_THINGS`]. The same arguments always give the same scene.
    pub fn generate(seed: u64, things: RangeInclusive<usize>) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let least = (*things.start()).clamp(1, MOST_THINGS);
        let most = (*things.end()).clamp(least, MOST_THINGS);
        let kinds = draw_kinds(rng.random_range(least..=most), &mut rng);
        let text = rng.random_bool(PLATE_SHARE).then(|| draw_text(&mut rng));
        // Some draws of sizes and places do not fit; later ones of the same things do.
        let (text, mut things) = loop {
            if let Some(placed) = place(&kinds, text.as_deref(), &mut rng) {
                break placed;
            }
        };
        things.sort_by(|a, b| a.centre()[0].total_cmp(&b.centre()[0]));
        let mut paints: Vec<[u8; 3]> = things.iter().map(|thing| thing.paint).collect();
        paints.extend(text.as_ref().map(|text| text.plate));
        let ground = draw_ground(&paints, &mut rng);
        Self { seed, things, plates: text.into_iter().collect(), ground }
    }

    /// A picture of nothing but plates with letters and digits at random, as many as fit: what
    /// glyphs look like, learned from far more of them than scenes carry.
    pub fn page(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut taken = Vec::new();
        let plates: Vec<PlatedText> = (0..PAGE_TRIES)
            .filter_map(|_| {
                let length = rng.random_range(PAGE_WORD);
                let text: String =
                    (0..length).map(|_| char::from(pick(GLYPHS, &mut rng))).collect();
                place_text(&text, &mut taken, &mut rng)
            })
            .collect();
        let paints: Vec<[u8; 3]> = plates.iter().map(|text| text.plate).collect();
        let ground = draw_ground(&paints, &mut rng);
        Self { seed, things: Vec::new(), plates, ground }
    }
}

/// `count` different pairs of colour and shape; pairs that share one of the two are made more
/// frequent than chance would, since they are what questions can be hard about.
fn draw_kinds(count: usize, rng: &mut impl Rng) -> Vec<(Colour, Shape)> {
    let mut kinds: Vec<(Colour, Shape)> = Vec::with_capacity(count);
    while kinds.len() < count {
        let mut kind = (pick(&Colour::ALL, rng), pick(&Shape::ALL, rng));
        match (kinds.choose(rng), rng.random_range(0..6)) {
            (Some(earlier), 0) => kind.0 = earlier.0,
            (Some(earlier), 1) => kind.1 = earlier.1,
            _ => {}
        }
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

fn pick<T: Copy, const N: usize>(all: &[T; N], rng: &mut impl Rng) -> T {
    all[rng.random_range(0..N)]
}

fn draw_text(rng: &mut impl Rng) -> String {
    if rng.random_bool(0.5) {
        let digits = rng.random_range(1..=3u32);
        let least = if digits == 1 { 0 } else { 10u32.pow(digits - 1) };
        return rng.random_range(least..10u32.pow(digits)).to_string();
    }
    let word = pick(&PLATE_WORDS, rng);
    if rng.random_bool(0.5) { word.to_uppercase() } else { word.to_owned() }
}

type Placed = (Option<PlatedText>, Vec<Thing>);

/// Sizes and places for a plate and things; `None` when something found no room.
fn place(kinds: &[(Colour, Shape)], text: Option<&str>, rng: &mut impl Rng) -> Option<Placed> {
    let mut taken: Vec<[f32; 4]> = Vec::with_capacity(kinds.len() + 1);
    let text = match text {
        Some(text) => Some(place_text(text, &mut taken, rng)?),
        None => None,
    };
    let mut things: Vec<Thing> = Vec::with_capacity(kinds.len());
    for &(colour, shape) in kinds {
        let size = if rng.random_bool(0.5) { Size::Small } else { Size::Large };
        let extent = rng.random_range(size.sides());
        let box_ = find_room(&taken, [extent, extent], rng, |box_| {
            let x = f32::midpoint(box_[0], box_[2]);
            things.iter().all(|thing| (thing.centre()[0] - x).abs() >= STEP)
        })?;
        taken.push(box_);
        let paint = colour.rgb().map(|level| level.saturating_add_signed(rng.random_range(-8..=8)));
        things.push(Thing { colour, shape, size, box_, paint });
    }
    Some((text, things))
}

fn place_text(text: &str, taken: &mut Vec<[f32; 4]>, rng: &mut impl Rng) -> Option<PlatedText> {
    let cap_height = rng.random_range(12.0..=16.0f32);
    let width = text.len() as f32 * ADVANCE * cap_height + 2.0 * PADDING;
    let height = (1.0 + DESCENT) * cap_height + 2.0 * PADDING;
    let box_ = find_room(taken, [width, height], rng, |_| true)?;
    taken.push(box_);
    let (plate, ink) = pick(&PLATES, rng);
    Some(PlatedText { text: text.to_owned(), box_, cap_height, plate, ink })
}

/// A box of the given width and height, clear of those taken, that `accept` takes.
fn find_room(
    taken: &[[f32; 4]],
    [width, height]: [f32; 2],
    rng: &mut impl Rng,
    accept: impl Fn([f32; 4]) -> bool,
) -> Option<[f32; 4]> {
    let side = SIDE as f32 - EDGE;
    let clear = |a: &[f32; 4], b: &[f32; 4]| {
        a[0] >= b[2] + GAP || b[0] >= a[2] + GAP || a[1] >= b[3] + GAP || b[1] >= a[3] + GAP
    };
    for _ in 0..16 {
        let x = rng.random_range(EDGE..=side - width);
        let y = rng.random_range(EDGE..=side - height);
        let box_ = [x, y, x + width, y + height];
        if taken.iter().all(|other| clear(other, &box_)) && accept(box_) {
            return Some(box_);
        }
    }
    None
}

/// A ground that everything painted on it stands out from.
fn draw_ground(paints: &[[u8; 3]], rng: &mut impl Rng) -> Ground {
    let stands_out = |ground: [u8; 3]| paints.iter().all(|&p| distance(p, ground) >= CONTRAST);
    let mut paint = || loop {
        let paint = [rng.random(), rng.random(), rng.random()];
        if stands_out(paint) {
            return paint;
        }
    };
    let (from, mut to) = (paint(), paint());
    let between = |to: [u8; 3]| [0.25, 0.5, 0.75].iter().all(|&t| stands_out(mix(from, to, t)));
    while !between(to) {
        to = paint();
    }
    match rng.random_range(0..3) {
        0 => Ground::Plain(from),
        1 => Ground::Gradient { from, to, angle: rng.random_range(0.0..std::f32::consts::TAU) },
        _ => Ground::Noisy {
            paint: from,
            amplitude: rng.random_range(6..=24),
            grain: pick(&[1, 1, 2, 3], rng),
            seed: rng.random(),
        },
    }
}

/// Distance of two paints in RGB, in levels.
fn distance(a: [u8; 3], b: [u8; 3]) -> f32 {
    let squares = a.iter().zip(b).map(|(&a, b)| (f32::from(a) - f32::from(b)).powi(2));
    squares.sum::<f32>().sqrt()
}

/// The paint a share `t` of the way from `a` to `b`.
pub(crate) fn mix(a: [u8; 3], b: [u8; 3], t: f32) -> [u8; 3] {
    std::array::from_fn(|i| {
        let (a, b) = (f32::from(a[i]), f32::from(b[i]));
        (a + (b - a) * t).round().clamp(0.0, 255.0) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_scene_and_others_differ() {
        for seed in 0..50 {
            let scene = Scene::generate(seed, 1..=4);
            assert_eq!(scene, Scene::generate(seed, 1..=4));
            assert_ne!(scene, Scene::generate(seed + 1, 1..=4));
        }
    }

    #[test]
    fn things_are_apart_unlike_each_other_and_sorted() {
        for seed in 0..1000 {
            let scene = Scene::generate(seed, 2..=4);
            assert!((2..=4).contains(&scene.things.len()));
            let boxes: Vec<[f32; 4]> = scene
                .things
                .iter()
                .map(|thing| thing.box_)
                .chain(scene.plates.iter().map(|text| text.box_))
                .collect();
            for (i, a) in boxes.iter().enumerate() {
                assert!(a[0] >= 0.99 && a[1] >= 0.99 && a[2] <= 111.01 && a[3] <= 111.01, "{a:?}");
                for b in &boxes[..i] {
                    let apart = (a[0] - b[2]).max(b[0] - a[2]).max(a[1] - b[3]).max(b[1] - a[3]);
                    assert!(apart > 2.99, "{a:?} {b:?}");
                }
            }
            for pair in scene.things.windows(2) {
                assert!(pair[1].centre()[0] - pair[0].centre()[0] > 7.99);
            }
            for (i, thing) in scene.things.iter().enumerate() {
                let side = thing.box_[2] - thing.box_[0];
                assert!(thing.size.sides().contains(&(side + 0.01)) || side > 21.0);
                assert!(scene.things[..i].iter().all(|other| other.label() != thing.label()));
            }
        }
    }

    #[test]
    fn counts_outside_what_a_scene_holds_are_clamped() {
        assert_eq!(Scene::generate(1, 0..=0).things.len(), 1);
        assert_eq!(Scene::generate(1, 9..=20).things.len(), MOST_THINGS);
    }

    #[test]
    fn pages_carry_many_glyphs_and_every_one_of_them() {
        let mut counts = std::collections::HashMap::<char, usize>::new();
        for seed in 0..400 {
            let page = Scene::page(seed);
            assert_eq!(page, Scene::page(seed));
            assert!(page.things.is_empty() && !page.plates.is_empty());
            page.plates.iter().flat_map(|p| p.text.chars()).for_each(|c| {
                *counts.entry(c).or_default() += 1;
            });
        }
        assert_eq!(counts.len(), GLYPHS.len());
        assert!(counts.values().sum::<usize>() > 400 * 8, "{counts:?}");
    }

    #[test]
    fn no_plate_is_longer_than_the_longest() {
        assert!(PLATE_WORDS.iter().all(|word| word.len() <= LONGEST_PLATE));
    }

    #[test]
    fn four_scenes_in_ten_carry_a_plate() {
        let plates =
            (0..1000).filter(|&seed| !Scene::generate(seed, 1..=2).plates.is_empty()).count();
        assert!((350..450).contains(&plates), "{plates}");
    }
}
