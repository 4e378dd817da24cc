//! Questions about a scene that have one answer of one or two words.

use rand::seq::IndexedRandom;
use rand::{Rng, RngCore};

use crate::scene::{SIDE, Scene};
use crate::thing::{Colour, Shape, Thing, label};

/// A question without its `answer en `, and the answer.
type Question = (String, String);

/// Draws a question of one kind; `None` where the scene leaves its answer in doubt.
type Kind = fn(&Scene, &mut dyn RngCore) -> Option<Question>;

/// Kinds of question; a kind listed twice is asked twice as often.
const KINDS: [Kind; 17] = [
    count_all,
    count_all,
    count_some,
    count_some,
    colour_of,
    colour_of,
    shape_of,
    shape_of,
    is_there,
    is_there,
    is_there,
    where_is,
    where_is,
    size_of,
    size_of,
    what_beside,
    is_beside,
];

/// A question that the scene answers without doubt, and the answer.
pub(crate) fn draw(scene: &Scene, rng: &mut dyn RngCore) -> Question {
    loop {
        let kind = KINDS[rng.random_range(0..KINDS.len())];
        if let Some(question) = kind(scene, rng) {
            return question;
        }
    }
}

/// A question without what it is about: `is the red star left of the circle?` has the form
/// `is the <colour> <shape> beside the <shape>?`.
pub(crate) fn form(question: &str) -> String {
    let (text, mark) = question.strip_suffix('?').map_or((question, ""), |text| (text, "?"));
    let text =
        DIRECTIONS.iter().fold(text.to_owned(), |text, (way, ..)| text.replace(way, BESIDE_IT));
    let words: Vec<&str> = text.split(' ').map(kind_of_word).collect();
    words.join(" ") + mark
}

const A_COLOUR: &str = "<colour>";
const A_SHAPE: &str = "<shape>";
const BESIDE_IT: &str = "beside";

/// The word, or what stands for all words like it.
fn kind_of_word(word: &str) -> &str {
    match word {
        "an" => "a",
        word if Colour::ALL.iter().any(|colour| colour.name() == word) => A_COLOUR,
        word if Shape::ALL.iter().any(|shape| [shape.name(), shape.plural()].contains(&word)) => {
            A_SHAPE
        }
        word => word,
    }
}

/// A pair of colour and shape that no thing has, most often one that shares either with a thing.
pub(crate) fn absent_kind(scene: &Scene, rng: &mut dyn RngCore) -> (Colour, Shape) {
    loop {
        let mut kind = scene
            .things
            .choose(rng)
            .map_or((Colour::Red, Shape::Star), |thing| (thing.colour, thing.shape));
        let change = rng.random_range(0..5);
        if change <= 2 {
            kind.0 = any(&Colour::ALL, rng);
        }
        if change >= 2 {
            kind.1 = any(&Shape::ALL, rng);
        }
        if scene.things.iter().all(|thing| (thing.colour, thing.shape) != kind) {
            return kind;
        }
    }
}

fn any<T: Copy, const N: usize>(all: &[T; N], rng: &mut dyn RngCore) -> T {
    all[rng.random_range(0..N)]
}

fn a_thing<'a>(scene: &'a Scene, rng: &mut dyn RngCore) -> Option<&'a Thing> {
    scene.things.choose(rng)
}

fn count(scene: &Scene, what: impl Fn(&Thing) -> bool) -> usize {
    scene.things.iter().filter(|thing| what(thing)).count()
}

/// How a question speaks of a thing: `red star`, or at times `star` where there is only one.
fn mention(scene: &Scene, thing: &Thing, rng: &mut dyn RngCore) -> String {
    if rng.random_bool(0.5) && count(scene, |other| other.shape == thing.shape) == 1 {
        return thing.shape.name().to_owned();
    }
    thing.label()
}

#[expect(clippy::unnecessary_wraps, reason = "a `Kind` like the others")]
fn count_all(scene: &Scene, rng: &mut dyn RngCore) -> Option<Question> {
    let noun = any(&["shapes", "things"], rng);
    Some((format!("how many {noun} are there?"), scene.things.len().to_string()))
}

/// Counts by colour or by shape; now and then of what is not there.
fn count_some(scene: &Scene, rng: &mut dyn RngCore) -> Option<Question> {
    let thing = a_thing(scene, rng)?;
    let here = rng.random_bool(0.8);
    let (what, number) = if rng.random_bool(0.5) {
        let colour = if here { thing.colour } else { any(&Colour::ALL, rng) };
        (format!("{} shapes", colour.name()), count(scene, |other| other.colour == colour))
    } else {
        let shape = if here { thing.shape } else { any(&Shape::ALL, rng) };
        (shape.plural().to_owned(), count(scene, |other| other.shape == shape))
    };
    Some((format!("how many {what} are there?"), number.to_string()))
}

fn colour_of(scene: &Scene, rng: &mut dyn RngCore) -> Option<Question> {
    let thing = a_thing(scene, rng)?;
    let alone = count(scene, |other| other.shape == thing.shape) == 1;
    let question = format!("what color is the {}?", thing.shape.name());
    alone.then(|| (question, thing.colour.name().to_owned()))
}

fn shape_of(scene: &Scene, rng: &mut dyn RngCore) -> Option<Question> {
    let thing = a_thing(scene, rng)?;
    let alone = count(scene, |other| other.colour == thing.colour) == 1;
    let question = format!("what shape is the {} thing?", thing.colour.name());
    alone.then(|| (question, thing.shape.name().to_owned()))
}

/// As often yes as no; a no shares what it can with a thing that is there.
#[expect(clippy::unnecessary_wraps, reason = "a `Kind` like the others")]
fn is_there(scene: &Scene, rng: &mut dyn RngCore) -> Option<Question> {
    let (yes, form) = (rng.random_bool(0.5), rng.random_range(0..4));
    let what = loop {
        let (colour, shape) = match a_thing(scene, rng) {
            Some(thing) if yes => (thing.colour, thing.shape),
            _ => absent_kind(scene, rng),
        };
        let (what, found) = match form {
            0 => (shape.name().to_owned(), count(scene, |thing| thing.shape == shape) > 0),
            1 => {
                let found = count(scene, |thing| thing.colour == colour) > 0;
                (format!("{} shape", colour.name()), found)
            }
            _ => (label(colour, shape), yes),
        };
        // An absent pair may still share the half that is asked about: draw another.
        if found == yes {
            break what;
        }
    };
    let article = if what.starts_with('o') { "an" } else { "a" };
    Some((format!("is there {article} {what}?"), yes_or_no(yes)))
}

fn yes_or_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

fn size_of(scene: &Scene, rng: &mut dyn RngCore) -> Option<Question> {
    let thing = a_thing(scene, rng)?;
    let question = format!("is the {} small or large?", mention(scene, thing, rng));
    Some((question, thing.size.name().to_owned()))
}

/// From the middle of the picture outwards: nearer than the first (pixels, along both axes) is
/// `middle`, farther than the second, and by the factor more than along the other axis, is a side.
const MIDDLE: f32 = 10.0;
const ASIDE: f32 = 16.0;
const CLEARLY: f32 = 1.5;

fn where_is(scene: &Scene, rng: &mut dyn RngCore) -> Option<Question> {
    let thing = a_thing(scene, rng)?;
    let place = side(thing.centre())?;
    Some((format!("where is the {}?", mention(scene, thing, rng)), place.to_owned()))
}

/// The one word for a place in the picture; `None` where there is doubt.
fn side(centre: [f32; 2]) -> Option<&'static str> {
    let [x, y] = centre.map(|pixels| pixels - SIDE as f32 / 2.0);
    if x.abs() < MIDDLE && y.abs() < MIDDLE {
        Some("middle")
    } else if x.abs() >= ASIDE && x.abs() >= CLEARLY * y.abs() {
        Some(if x < 0.0 { "left" } else { "right" })
    } else if y.abs() >= ASIDE && y.abs() >= CLEARLY * x.abs() {
        Some(if y < 0.0 { "top" } else { "bottom" })
    } else {
        None
    }
}

/// Words for a direction, with the axis (0 is x) and the sign of it.
const DIRECTIONS: [(&str, usize, f32); 4] =
    [("left of", 0, -1.0), ("right of", 0, 1.0), ("above", 1, -1.0), ("below", 1, 1.0)];

/// Pixels between middles from which a thing lies beside another without doubt, and up to which it
/// does not.
const BESIDE: f32 = 12.0;
const LEVEL: f32 = 4.0;

/// How far `other` lies from `thing` in a direction, in pixels.
fn offset(thing: &Thing, other: &Thing, axis: usize, sign: f32) -> f32 {
    sign * (other.centre()[axis] - thing.centre()[axis])
}

/// Asks for the only thing on one side of another.
fn what_beside(scene: &Scene, rng: &mut dyn RngCore) -> Option<Question> {
    let thing = a_thing(scene, rng)?;
    let (word, axis, sign) = any(&DIRECTIONS, rng);
    let mut beside = scene.things.iter().filter(|other| offset(thing, other, axis, sign) > LEVEL);
    let (only, more) = (beside.next()?, beside.next());
    let clear = more.is_none() && offset(thing, only, axis, sign) >= BESIDE;
    let question = format!("what is {word} the {}?", mention(scene, thing, rng));
    clear.then(|| (question, only.label()))
}

/// Asks whether a thing lies on one side of another.
fn is_beside(scene: &Scene, rng: &mut dyn RngCore) -> Option<Question> {
    let (thing, other) = (a_thing(scene, rng)?, a_thing(scene, rng)?);
    let (word, axis, sign) = any(&DIRECTIONS, rng);
    let distance = offset(other, thing, axis, sign);
    let (one, two) = (mention(scene, thing, rng), mention(scene, other, rng));
    let question = format!("is the {one} {word} the {two}?");
    (distance.abs() >= BESIDE).then(|| (question, yes_or_no(distance > 0.0)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn sides_are_named_only_where_they_are_clear() {
        assert_eq!(side([60.0, 50.0]), Some("middle"));
        assert_eq!(side([20.0, 50.0]), Some("left"));
        assert_eq!(side([90.0, 70.0]), Some("right"));
        assert_eq!(side([50.0, 20.0]), Some("top"));
        assert_eq!(side([66.0, 100.0]), Some("bottom"));
        assert_eq!(side([20.0, 20.0]), None);
        assert_eq!(side([69.0, 56.0]), None);
    }

    #[test]
    fn questions_of_one_form_differ_in_their_things_alone() {
        for (question, expected) in [
            ("what color is the star?", "what color is the <shape>?"),
            ("how many crosses are there?", "how many <shape> are there?"),
            ("is there an orange shape?", "is there a <colour> shape?"),
            ("how many shapes are there?", "how many shapes are there?"),
            ("is the red star left of the circle?", "is the <colour> <shape> beside the <shape>?"),
            ("what is above the red star?", "what is beside the <colour> <shape>?"),
        ] {
            assert_eq!(form(question), expected);
        }
    }

    #[test]
    fn an_absent_kind_is_absent_and_mostly_near() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut near = 0;
        for seed in 0..1000 {
            let scene = Scene::generate(seed, 1..=4);
            let (colour, shape) = absent_kind(&scene, &mut rng);
            assert!(scene.things.iter().all(|t| (t.colour, t.shape) != (colour, shape)));
            near += usize::from(count(&scene, |t| t.colour == colour || t.shape == shape) > 0);
        }
        assert!(near > 700, "{near}");
    }

    #[test]
    fn answers_are_balanced_and_short() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut answers: HashMap<String, usize> = HashMap::new();
        for seed in 0..10_000 {
            let (question, answer) = draw(&Scene::generate(seed, 1..=4), &mut rng);
            assert!(question.ends_with('?') && (1..=2).contains(&answer.split(' ').count()));
            *answers.entry(answer).or_default() += 1;
        }
        let (yes, no) = (answers["yes"] as f32, answers["no"] as f32);
        assert!((yes / no - 1.0).abs() < 0.15, "{yes} {no}");
        for word in ["0", "4", "left", "right", "top", "bottom", "middle", "small", "large"] {
            assert!(answers[word] > 50, "{word}: {}", answers[word]);
        }
    }

    #[test]
    fn every_answer_is_what_the_scene_says() {
        // One scene whose answers are known by hand.
        let thing = |colour, shape, size, box_| Thing { colour, shape, size, box_, paint: [0; 3] };
        let (small, large) = (crate::Size::Small, crate::Size::Large);
        let scene = Scene {
            seed: 0,
            things: vec![
                thing(Colour::Red, Shape::Circle, small, [4.0, 48.0, 20.0, 64.0]),
                thing(Colour::Red, Shape::Star, large, [72.0, 40.0, 108.0, 76.0]),
            ],
            plates: Vec::new(),
            ground: crate::scene::Ground::Plain([9; 3]),
        };
        let expected: HashMap<&str, &str> = [
            ("how many shapes are there?", "2"),
            ("how many red shapes are there?", "2"),
            ("how many stars are there?", "1"),
            ("how many crosses are there?", "0"),
            ("what color is the star?", "red"),
            ("is there a red circle?", "yes"),
            ("is there a red square?", "no"),
            ("is there an orange circle?", "no"),
            ("where is the circle?", "left"),
            ("where is the red star?", "right"),
            ("is the star small or large?", "large"),
            ("what is left of the star?", "red circle"),
            ("what is right of the red circle?", "red star"),
            ("is the red star left of the red circle?", "no"),
            ("is the circle left of the star?", "yes"),
        ]
        .into();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut seen: HashMap<String, String> = HashMap::new();
        for _ in 0..20_000 {
            let (question, answer) = draw(&scene, &mut rng);
            assert_ne!(question, "what shape is the red thing?", "two things are red");
            assert_eq!(*seen.entry(question).or_insert(answer.clone()), answer);
        }
        for (question, answer) in expected {
            assert_eq!(seen.get(question).map(String::as_str), Some(answer), "{question}");
        }
    }
}
