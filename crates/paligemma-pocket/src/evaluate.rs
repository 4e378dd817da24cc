//! Scores of predictions against what a perfect model answers.

use std::fmt;

use paligemma_processor::{Detection, SoftMask, iou, parse_detections};

use crate::draw::MASK_SCALE;
use crate::scene::{SIDE, Scene};
use crate::task::{Example, MaskCodes, Task};

/// Overlap from which a predicted box counts as found.
const LEAST_OVERLAP: f32 = 0.5;

/// How many predictions of one task equal the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Predictions equal to the answer.
    pub right: usize,
    /// All predictions.
    pub total: usize,
}

impl Tally {
    /// The share that is right; zero of nothing.
    pub fn rate(&self) -> f32 {
        self.right as f32 / self.total.max(1) as f32
    }
}

/// Boxes over all predictions of `detect`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Boxes {
    /// Predicted boxes that match an expected one in label and, by half at least, in place.
    pub hits: usize,
    /// All predicted boxes.
    pub predicted: usize,
    /// All boxes that were to be found.
    pub expected: usize,
}

impl Boxes {
    /// Harmonic mean of precision and recall over all boxes together; zero of nothing.
    pub fn f1(&self) -> f32 {
        2.0 * self.hits as f32 / (self.predicted + self.expected).max(1) as f32
    }
}

/// Masks over all predictions of `segment`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Masks {
    /// Things that were to be found.
    pub expected: usize,
    /// Those found: in a box that overlaps theirs by half at least.
    pub found: usize,
    /// Sum over those found of the overlap of masks, nothing where none is told.
    pub overlap: f32,
}

impl Masks {
    /// Mean overlap of the masks of things that were found; zero of nothing.
    pub fn mean(&self) -> f32 {
        self.overlap / self.found.max(1) as f32
    }

    /// The share that was found; zero of nothing.
    pub fn recall(&self) -> f32 {
        self.found as f32 / self.expected.max(1) as f32
    }
}

/// Scores by task.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Captions, right when equal.
    pub caption: Tally,
    /// Answers to questions, right when equal.
    pub answer: Tally,
    /// Readings, right when equal.
    pub ocr: Tally,
    /// Detections, box by box.
    pub detection: Boxes,
    /// Segmentations, mask by mask.
    pub segmentation: Masks,
}

impl Score {
    /// Counts what a model answered to `example`. White space around the answer does not matter.
    pub fn add(&mut self, example: &Example, predicted: &str) {
        let tally = match example.task {
            Task::Caption => &mut self.caption,
            Task::Answer => &mut self.answer,
            Task::Ocr => &mut self.ocr,
            Task::Detect => return self.add_boxes(&example.suffix, predicted),
            Task::Segment => return,
        };
        tally.total += 1;
        tally.right += usize::from(predicted.trim() == example.suffix);
    }

    /// Counts the masks of things that a model was asked to segment. `decode` makes the values of a
    /// mask of its codes, positive where the thing is.
    pub fn add_masks(
        &mut self,
        scene: &Scene,
        example: &Example,
        predicted: &str,
        decode: impl Fn(MaskCodes) -> Vec<f32>,
    ) {
        let guesses = parse_detections(predicted);
        for truth in parse_detections(&example.suffix) {
            self.segmentation.expected += 1;
            let same = guesses.iter().filter(|guess| guess.label == truth.label);
            let best = same.max_by(|a, b| overlap(&truth, a).total_cmp(&overlap(&truth, b)));
            let Some(guess) = best.filter(|best| overlap(&truth, best) >= LEAST_OVERLAP) else {
                continue;
            };
            self.segmentation.found += 1;
            let index = scene.things.iter().position(|thing| thing.label() == truth.label);
            if let (Some(index), Some(codes)) = (index, guess.codes) {
                let side = SIDE * MASK_SCALE;
                let box_ = [guess.x0, guess.y0, guess.x1, guess.y1].map(|at| at * side as f32);
                let mask = SoftMask::in_box(&decode(codes), box_, (side, side)).bitmap();
                self.segmentation.overlap += mask.iou(&scene.mask_at(index, MASK_SCALE));
            }
        }
    }

    /// Matches boxes one to one, best overlaps first.
    fn add_boxes(&mut self, expected: &str, predicted: &str) {
        let (expected, predicted) = (parse_detections(expected), parse_detections(predicted));
        let mut pairs: Vec<(f32, usize, usize)> = Vec::new();
        for (i, truth) in expected.iter().enumerate() {
            for (j, guess) in predicted.iter().enumerate() {
                let overlap = overlap(truth, guess);
                if truth.label == guess.label && overlap >= LEAST_OVERLAP {
                    pairs.push((overlap, i, j));
                }
            }
        }
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut found, mut used) = (vec![false; expected.len()], vec![false; predicted.len()]);
        for (_, i, j) in pairs {
            if !found[i] && !used[j] {
                (found[i], used[j]) = (true, true);
                self.detection.hits += 1;
            }
        }
        self.detection.expected += expected.len();
        self.detection.predicted += predicted.len();
    }
}

impl fmt::Display for Score {
    /// A Markdown table with one row a task.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| task | measure | score | of |")?;
        writeln!(f, "|---|---|---|---|")?;
        let rows = [("caption", self.caption), ("answer", self.answer), ("ocr", self.ocr)];
        for (task, tally) in rows {
            writeln!(f, "| {task} | exact match | {:.3} | {} |", tally.rate(), tally.total)?;
        }
        let boxes = &self.detection;
        writeln!(f, "| detect | F1 at IoU 0.5 | {:.3} | {} |", boxes.f1(), boxes.expected)?;
        let Masks { expected, found, .. } = self.segmentation;
        let [mean, recall] = [self.segmentation.mean(), self.segmentation.recall()];
        writeln!(f, "| segment | found, at IoU 0.5 of boxes | {recall:.3} | {expected} |")?;
        write!(f, "| segment | mean IoU of masks, of those found | {mean:.3} | {found} |")
    }
}

fn overlap(a: &Detection, b: &Detection) -> f32 {
    let [a, b] = [a, b].map(|found| [found.x0, found.y0, found.x1, found.y1]);
    iou(a, b)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "0 and 1 are quotients without rounding")]
mod tests {
    use paligemma_processor::MASK_SIDE;

    use super::*;
    use crate::task::{detect, evaluation_examples, segment};

    fn example(task: Task, suffix: &str) -> Example {
        Example { task, prefix: String::new(), suffix: suffix.into() }
    }

    #[test]
    fn a_perfect_model_scores_one_and_a_silent_one_nothing() {
        let (mut perfect, mut silent) = (Score::default(), Score::default());
        for seed in 0..100 {
            for example in evaluation_examples(&Scene::generate(seed, 1..=4)) {
                perfect.add(&example, &example.suffix);
                silent.add(&example, "");
            }
        }
        let rates = |s: &Score| [s.caption.rate(), s.answer.rate(), s.ocr.rate(), s.detection.f1()];
        assert_eq!(rates(&perfect), [1.0; 4]);
        assert_eq!(rates(&silent), [0.0; 4]);
        assert_eq!(rates(&Score::default()), [0.0; 4]);
    }

    #[test]
    fn boxes_match_by_label_and_overlap_once_each() {
        let truth = "<loc0000><loc0000><loc0100><loc0100> red star";
        let score = |predicted: &str| {
            let mut score = Score::default();
            score.add(&example(Task::Detect, truth), predicted);
            let Boxes { hits, predicted, expected } = score.detection;
            (hits, predicted, expected)
        };
        assert_eq!(score("<loc0000><loc0000><loc0100><loc0051> red star"), (1, 1, 1));
        assert_eq!(score("<loc0000><loc0000><loc0100><loc0049> red star"), (0, 1, 1));
        assert_eq!(score("<loc0000><loc0000><loc0100><loc0100> red circle"), (0, 1, 1));
        assert_eq!(score(&format!("{truth} ; {truth}")), (1, 2, 1));
        assert_eq!(score("<loc0100><loc0000><loc0000><loc0100> red star"), (0, 0, 1));
        assert_eq!(score("<loc0000><loc0000><loc0100> red star ; star ; <loc"), (0, 0, 1));
    }

    #[test]
    fn masks_count_for_things_found_by_label_and_box() {
        let scene = Scene::generate(3, 2..=2);
        let codes = [0; 16];
        let example = segment(&scene, &[(0, codes), (1, codes)]);
        let score = |predicted: &str, value: f32| {
            let mut score = Score::default();
            let filled = |_| vec![value; MASK_SIDE * MASK_SIDE];
            score.add_masks(&scene, &example, predicted, filled);
            (score.segmentation.found, score.segmentation.expected, score.segmentation.mean())
        };
        let (found, expected, mean) = score(&example.suffix, 1.0);
        assert_eq!((found, expected), (2, 2));
        // Whole boxes: what the shapes fill of them, but for the rounding of the boxes.
        let filled = |index: usize| {
            let [x0, y0, x1, y1] = scene.things[index].box_;
            scene.mask_at(index, 1).area() as f32 / ((x1 - x0) * (y1 - y0))
        };
        assert!((mean - f32::midpoint(filled(0), filled(1))).abs() < 0.04, "{mean}");
        assert_eq!(score(&example.suffix, -1.0), (2, 2, 0.0));
        let kinds = [0, 1].map(|index| (scene.things[index].colour, scene.things[index].shape));
        assert_eq!(score(&detect(&scene, &kinds).suffix, 1.0), (2, 2, 0.0));
        assert_eq!(score("<loc0000> red ; <seg001>", 1.0), (0, 2, 0.0));
        let first = segment(&scene, &[(0, codes)]).suffix;
        assert_eq!(score(&first, 1.0).0, 1);
    }

    #[test]
    fn the_table_has_a_row_for_each_task() {
        let mut score = Score::default();
        score.add(&example(Task::Answer, "yes"), " yes\n");
        score.add(&example(Task::Answer, "no"), "yes");
        let table = score.to_string();
        assert!(table.contains("| answer | exact match | 0.500 | 2 |"), "{table}");
        assert_eq!(table.lines().count(), 8);
    }
}
