//! Prompts about a scene and what a perfect model answers to them.

use paligemma_processor::{CODES, Detection, format_detections};
use rand::seq::SliceRandom;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::question;
use crate::scene::Scene;
use crate::thing::{Colour, Shape, Thing, label};

/// The numbers of the `<segNNN>` tokens that tell a mask.
pub type MaskCodes = [u8; CODES];

/// What a prompt asks for, and so how its answer is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// `caption en`: every thing with size, colour and shape, from left to right.
    Caption,
    /// `answer en <question>`: one or two words.
    Answer,
    /// `detect <thing> ; <thing>`: boxes with labels.
    Detect,
    /// `ocr`: what the plate says.
    Ocr,
    /// `segment <thing> ; <thing>`: boxes, codes of masks, labels.
    Segment,
}

impl Task {
    /// Every task.
    pub const ALL: [Self; 5] =
        [Self::Caption, Self::Answer, Self::Detect, Self::Ocr, Self::Segment];
    /// The tasks whose answers are told by the scene alone, without codes of masks.
    pub const PLAIN: [Self; 4] = [Self::Caption, Self::Answer, Self::Detect, Self::Ocr];
}

/// A prompt and its answer, both without control tokens: no `<bos>`, newline or `<eos>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// What is asked for.
    pub task: Task,
    /// The prompt.
    pub prefix: String,
    /// The answer, empty where there is nothing to say.
    pub suffix: String,
}

/// The caption: `a small red circle and a large blue star`.
pub fn caption(scene: &Scene) -> Example {
    let names: Vec<String> = scene
        .things
        .iter()
        .map(|thing| format!("a {} {}", thing.size.name(), thing.label()))
        .collect();
    let suffix = match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    };
    Example { task: Task::Caption, prefix: "caption en".into(), suffix }
}

/// Boxes of the asked things, in the order asked; those not in the scene are left out.
pub fn detect(scene: &Scene, asked: &[(Colour, Shape)]) -> Example {
    let prefix: Vec<String> = asked.iter().map(|&(colour, shape)| label(colour, shape)).collect();
    let found: Vec<Detection> = asked
        .iter()
        .flat_map(|&kind| scene.things.iter().filter(move |t| (t.colour, t.shape) == kind))
        .map(Thing::detection)
        .collect();
    Example {
        task: Task::Detect,
        prefix: format!("detect {}", prefix.join(" ; ")),
        suffix: format_detections(&found),
    }
}

/// Boxes and masks of the asked things, given by their numbers in the scene with the codes of
/// their masks, in the order asked.
pub fn segment(scene: &Scene, asked: &[(usize, MaskCodes)]) -> Example {
    let found: Vec<Detection> = asked
        .iter()
        .filter_map(|&(index, codes)| {
            let thing = scene.things.get(index)?;
            Some(Detection { codes: Some(codes), ..thing.detection() })
        })
        .collect();
    let labels: Vec<&str> = found.iter().map(|thing| thing.label.as_str()).collect();
    Example {
        task: Task::Segment,
        prefix: format!("segment {}", labels.join(" ; ")),
        suffix: format_detections(&found),
    }
}

/// What to ask a segmentation for in training: one thing, or in one case of four two of them.
pub fn draw_segmented(scene: &Scene, rng: &mut impl Rng) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..scene.things.len()).collect();
    indices.shuffle(rng);
    indices.truncate(if rng.random_bool(0.25) { 2 } else { 1 });
    indices
}

/// What the plate says; empty without a plate.
pub fn ocr(scene: &Scene) -> Example {
    let suffix = scene.plates.first().map(|plate| plate.text.clone()).unwrap_or_default();
    Example { task: Task::Ocr, prefix: "ocr".into(), suffix }
}

/// Prompts to train on: a caption, `count` questions, a detection and, where there is a plate (and
/// seldom where there is none), a reading. Which questions and detections is up to `rng`.
pub fn examples(scene: &Scene, count: usize, rng: &mut impl Rng) -> Vec<Example> {
    let mut all = vec![caption(scene)];
    all.extend(questions(scene, count, rng));
    let asked = draw_asked(scene, rng);
    all.push(detect(scene, &asked));
    if rng.random_bool(if scene.plates.is_empty() { 0.05 } else { 1.0 }) {
        all.push(ocr(scene));
    }
    all
}

/// Prompts to evaluate on, a pure function of the scene: its caption, three different questions, a
/// detection of each thing alone, and a reading where there is a plate.
pub fn evaluation_examples(scene: &Scene) -> Vec<Example> {
    let mut rng = ChaCha8Rng::seed_from_u64(!scene.seed);
    let mut all = vec![caption(scene)];
    all.extend(questions(scene, 3, &mut rng));
    all.extend(scene.things.iter().map(|thing| detect(scene, &[(thing.colour, thing.shape)])));
    all.extend((!scene.plates.is_empty()).then(|| ocr(scene)));
    all
}

/// The form of the question that a prompt asks, without the things that it is about:
/// `is there a <colour> <shape>?`; `None` if it asks none.
pub fn question_form(example: &Example) -> Option<String> {
    example.prefix.strip_prefix(ASK).map(question::form)
}

/// How a prompt that asks a question begins.
const ASK: &str = "answer en ";

/// `count` different questions.
fn questions(scene: &Scene, count: usize, rng: &mut dyn RngCore) -> Vec<Example> {
    let mut all: Vec<Example> = Vec::with_capacity(count);
    while all.len() < count {
        let (question, suffix) = question::draw(scene, rng);
        let prefix = format!("{ASK}{question}");
        if all.iter().all(|earlier| earlier.prefix != prefix) {
            all.push(Example { task: Task::Answer, prefix, suffix });
        }
    }
    all
}

/// What to ask a detection for: some of the things in any order, at times one that is not there.
fn draw_asked(scene: &Scene, rng: &mut impl Rng) -> Vec<(Colour, Shape)> {
    let mut kinds: Vec<_> = scene.things.iter().map(|t| (t.colour, t.shape)).collect();
    kinds.shuffle(rng);
    kinds.truncate(*[1, 1, 2, 2, 4].get(rng.random_range(0..5)).unwrap_or(&1));
    if rng.random_bool(0.1) {
        kinds.truncate(rng.random_range(0..=1));
        let place = rng.random_range(0..=kinds.len());
        kinds.insert(place, question::absent_kind(scene, rng));
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::{Ground, PlatedText};
    use crate::thing::Size;

    fn scene() -> Scene {
        let thing = |colour, shape, size, box_| Thing { colour, shape, size, box_, paint: [0; 3] };
        Scene {
            seed: 0,
            things: vec![
                thing(Colour::Red, Shape::Circle, Size::Small, [0.0, 28.0, 16.0, 44.0]),
                thing(Colour::Blue, Shape::Star, Size::Large, [56.0, 70.5, 92.0, 106.5]),
                thing(Colour::Red, Shape::Cross, Size::Small, [96.0, 10.0, 112.0, 26.0]),
            ],
            plates: vec![PlatedText {
                text: "Q7".into(),
                box_: [0.0; 4],
                cap_height: 12.0,
                plate: [0; 3],
                ink: [0; 3],
            }],
            ground: Ground::Plain([9; 3]),
        }
    }

    #[test]
    fn captions_name_things_from_left_to_right() {
        let mut scene = scene();
        let three = "a small red circle, a large blue star and a small red cross";
        assert_eq!(caption(&scene).suffix, three);
        scene.things.pop();
        assert_eq!(caption(&scene).suffix, "a small red circle and a large blue star");
        scene.things.pop();
        assert_eq!(caption(&scene).suffix, "a small red circle");
    }

    #[test]
    fn detections_follow_the_order_asked_and_leave_out_what_is_not_there() {
        let (star, circle) = ((Colour::Blue, Shape::Star), (Colour::Red, Shape::Circle));
        let both = detect(&scene(), &[star, (Colour::Green, Shape::Star), circle]);
        assert_eq!(both.prefix, "detect blue star ; green star ; red circle");
        // 70.5 / 112 * 1023 = 643.9, 56 -> 511.5 (half away from zero), 106.5 -> 972.8, 92 -> 840.3
        let star = "<loc0644><loc0512><loc0973><loc0840> blue star";
        let circle = "<loc0256><loc0000><loc0402><loc0146> red circle";
        assert_eq!(both.suffix, format!("{star} ; {circle}"));
        assert_eq!(detect(&scene(), &[(Colour::White, Shape::Star)]).suffix, "");
    }

    #[test]
    fn segmentations_put_the_codes_between_box_and_label() {
        let codes = [[7; CODES], std::array::from_fn(|place| place as u8)];
        let both = segment(&scene(), &[(1, codes[0]), (0, codes[1]), (9, codes[1])]);
        assert_eq!(both.prefix, "segment blue star ; red circle");
        let star = "<loc0644><loc0512><loc0973><loc0840>".to_owned() + &"<seg007>".repeat(16);
        let circle: String =
            (0..16).fold(String::new(), |codes, code| codes + &format!("<seg{code:03}>"));
        let circle = format!("<loc0256><loc0000><loc0402><loc0146>{circle}");
        assert_eq!(both.suffix, format!("{star} blue star ; {circle} red circle"));
    }

    #[test]
    fn one_thing_is_asked_for_or_two() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let drawn: Vec<usize> =
            (0..400).map(|_| draw_segmented(&scene(), &mut rng).len()).collect();
        let two = drawn.iter().filter(|&&count| count == 2).count();
        assert!((60..140).contains(&two) && drawn.iter().all(|count| (1..=2).contains(count)));
    }

    #[test]
    fn readings_give_the_plate_or_nothing() {
        let mut scene = scene();
        assert_eq!(ocr(&scene).suffix, "Q7");
        scene.plates.clear();
        assert_eq!(ocr(&scene).suffix, "");
    }

    #[test]
    fn evaluation_is_a_pure_function_of_the_scene() {
        for seed in 0..100 {
            let scene = Scene::generate(seed, 1..=4);
            let all = evaluation_examples(&scene);
            assert_eq!(all, evaluation_examples(&scene));
            let count = |task| all.iter().filter(|example| example.task == task).count();
            assert_eq!((count(Task::Caption), count(Task::Answer)), (1, 3));
            assert_eq!(count(Task::Detect), scene.things.len());
            assert_eq!(count(Task::Ocr), scene.plates.len());
        }
    }

    #[test]
    fn training_prompts_cover_every_task_and_some_have_nothing_to_find() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let all: Vec<Example> = (0..2000)
            .flat_map(|seed| examples(&Scene::generate(seed, 1..=4), 2, &mut rng))
            .collect();
        for task in Task::PLAIN {
            assert!(all.iter().any(|example| example.task == task));
        }
        let empty = |task| all.iter().filter(|e| e.task == task && e.suffix.is_empty()).count();
        assert!(empty(Task::Detect) > 20 && empty(Task::Ocr) > 20);
        assert_eq!(empty(Task::Caption) + empty(Task::Answer), 0);
    }
}
