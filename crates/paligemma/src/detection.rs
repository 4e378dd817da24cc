//! Boxes in pixels, how sure the model is of each, and those that show the same thing twice.

use std::str::FromStr;
use std::sync::Arc;

use paligemma_processor::{Tokenizer, detection_spans, iou};

use crate::tasks::detection_prompt;
use crate::{Answer, Constraint, Error, Items, Options, PaliGemma, Request, Scene};

/// A box in pixels of the original picture.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectedBox {
    /// What is in it.
    pub label: String,
    /// Left edge.
    pub x0: f32,
    /// Top edge.
    pub y0: f32,
    /// Right edge.
    pub x1: f32,
    /// Bottom edge.
    pub y1: f32,
    /// How sure the model was of the box: the geometric mean of the probabilities of its four
    /// location tokens, `exp(mean(log p))`, 0..=1.
    ///
    /// `p` is what the model gave a location among all tokens after those before it, also where an
    /// answer is drawn or constrained. The first location competes with the answer's end, so a box
    /// that the model would not have begun has a small one. The label does not count: its
    /// tokens say what the thing is, not where, and most are certain.
    pub confidence: f32,
}

impl DetectedBox {
    /// Its left, top, right and bottom edge.
    pub fn edges(&self) -> [f32; 4] {
        [self.x0, self.y0, self.x1, self.y1]
    }

    /// The area that two boxes share, by the area that they cover together, 0..=1.
    pub fn iou(&self, other: &Self) -> f32 {
        iou(self.edges(), other.edges())
    }
}

/// What a location of 1 is as a fraction of the picture's side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocationScale {
    /// 1 / 1023: the last location is the far edge. So big_vision writes training data and reads
    /// answers.
    #[default]
    Of1023,
    /// 1 / 1024, as Google's demonstration and mlx-vlm read answers.
    Of1024,
}

impl FromStr for LocationScale {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "1023" => Ok(Self::Of1023),
            "1024" => Ok(Self::Of1024),
            _ => Err(format!("unknown scale `{name}`: use 1023 or 1024")),
        }
    }
}

/// How things are looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetectionOptions {
    /// Limits and chance of the answer.
    pub answer: Options,
    /// Whether the answer can only be boxes of the things that were named ([`Items`]).
    pub constrained: bool,
    /// What locations are fractions of.
    pub scale: LocationScale,
    /// Of boxes with one label that overlap by more than this, the surest stays; none keeps all.
    pub max_overlap: Option<f32>,
}

/// The overlap above which two boxes are taken for one thing: the threshold of greedy suppression
/// in common detectors (torchvision `FasterRCNN`, `box_nms_thresh`).
const MAX_OVERLAP: f32 = 0.5;

impl Default for DetectionOptions {
    fn default() -> Self {
        let answer = Options::default();
        let scale = LocationScale::default();
        Self { answer, constrained: false, scale, max_overlap: Some(MAX_OVERLAP) }
    }
}

/// What was found, and the answer that says so.
#[derive(Clone, Debug, PartialEq)]
pub struct Detected {
    /// The boxes, in the order of the answer.
    pub boxes: Vec<DetectedBox>,
    /// The answer.
    pub answer: Answer,
}

impl DetectionOptions {
    /// The request for the boxes of `things`.
    ///
    /// # Errors
    /// If nothing is named, or a name cannot be a label where answers are constrained.
    pub fn request(
        &self,
        scene: Scene,
        things: &[impl AsRef<str>],
        tokenizer: &Tokenizer,
    ) -> Result<Request, Error> {
        self.request_of(scene, detection_prompt(things)?, || Items::boxes(tokenizer, things))
    }

    /// A request whose answer obeys `rule` if answers are constrained.
    pub(crate) fn request_of(
        &self,
        scene: Scene,
        prompt: String,
        rule: impl FnOnce() -> Result<Items, Error>,
    ) -> Result<Request, Error> {
        let constraint: Option<Arc<dyn Constraint>> =
            if self.constrained { Some(Arc::new(rule()?)) } else { None };
        Ok(Request { scene, prompt, options: self.answer, constraint })
    }

    /// The boxes in the answer to such a request about a picture of this size.
    pub fn boxes(
        &self,
        answer: &Answer,
        tokenizer: &Tokenizer,
        size: (u32, u32),
    ) -> Vec<DetectedBox> {
        let mut boxes = boxes(answer, tokenizer, size);
        if self.scale == LocationScale::Of1024 {
            for DetectedBox { x0, y0, x1, y1, .. } in &mut boxes {
                for edge in [x0, y0, x1, y1] {
                    *edge *= 1023.0 / 1024.0;
                }
            }
        }
        match self.max_overlap {
            Some(max_overlap) => distinct(boxes, max_overlap),
            None => boxes,
        }
    }
}

/// All boxes in an answer to a detection prompt about a picture of `width` x `height` pixels.
pub fn boxes(
    answer: &Answer,
    tokenizer: &Tokenizer,
    (width, height): (u32, u32),
) -> Vec<DetectedBox> {
    let spans = detection_spans(&answer.token_ids, tokenizer);
    let detected = spans.into_iter().map(|(detection, tokens)| {
        let locations = &answer.log_probabilities[tokens][..4];
        DetectedBox {
            label: detection.label,
            x0: detection.x0 * width as f32,
            y0: detection.y0 * height as f32,
            x1: detection.x1 * width as f32,
            y1: detection.y1 * height as f32,
            confidence: (locations.iter().sum::<f32>() / 4.0).exp(),
        }
    });
    detected.collect()
}

/// The boxes without those that overlap a surer one of the same label by more than `max_overlap`:
/// greedy non-maximum suppression. Their order stays.
pub fn distinct(boxes: Vec<DetectedBox>, max_overlap: f32) -> Vec<DetectedBox> {
    let kept = kept(&boxes.iter().collect::<Vec<_>>(), max_overlap);
    let boxes = boxes.into_iter().enumerate().filter(|(at, _)| kept.contains(at));
    boxes.map(|(_, found)| found).collect()
}

/// The places of the boxes that [`distinct`] keeps, surest first.
pub(crate) fn kept(boxes: &[&DetectedBox], max_overlap: f32) -> Vec<usize> {
    let mut surest: Vec<usize> = (0..boxes.len()).collect();
    surest.sort_by(|&a, &b| boxes[b].confidence.total_cmp(&boxes[a].confidence));
    let mut kept: Vec<usize> = Vec::new();
    for at in surest {
        let same = |&other: &usize| {
            boxes[other].label == boxes[at].label && boxes[other].iou(boxes[at]) > max_overlap
        };
        if !kept.iter().any(same) {
            kept.push(at);
        }
    }
    kept
}

impl PaliGemma {
    /// Looks for `things` in the one picture of a scene.
    ///
    /// # Errors
    /// As [`PaliGemma::generate`]; and if nothing is named, a name cannot be a label where answers
    /// are constrained, or the scene has no picture.
    pub fn detect_with(
        &self,
        scene: &Scene,
        things: &[impl AsRef<str>],
        options: &DetectionOptions,
    ) -> Result<Detected, Error> {
        let size = *scene.sizes().first().ok_or(Error::Nothing { what: "picture" })?;
        let request = options.request(scene.clone(), things, self.tokenizer())?;
        let answer = self.generate(&request)?;
        Ok(Detected { boxes: options.boxes(&answer, self.tokenizer(), size), answer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(label: &str, [x0, y0, x1, y1]: [f32; 4], confidence: f32) -> DetectedBox {
        DetectedBox { label: label.to_owned(), x0, y0, x1, y1, confidence }
    }

    #[test]
    fn the_surest_of_a_label_stays_in_the_order_of_the_answer() {
        let boxes = [
            found("cat", [0.0, 0.0, 10.0, 10.0], 0.6),
            found("dog", [0.0, 0.0, 10.0, 10.0], 0.1),
            found("cat", [1.0, 0.0, 10.0, 10.0], 0.9),
            found("cat", [20.0, 0.0, 30.0, 10.0], 0.2),
            // Overlaps the first, which goes, and not the one that stays.
            found("cat", [0.0, 0.0, 5.1, 10.0], 0.3),
        ];
        let of = |kept: Vec<DetectedBox>| {
            let place = |one| boxes.iter().position(|other| *other == one);
            kept.into_iter().map(|one| place(one).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(of(distinct(boxes.to_vec(), 0.5)), [1, 2, 3, 4]);
        assert_eq!(of(distinct(boxes.to_vec(), 1.0)), [0, 1, 2, 3, 4]);
        assert_eq!(of(distinct(boxes.to_vec(), 0.0)), [1, 2, 3]);
        assert_eq!(distinct(Vec::new(), 0.5), []);
    }
}
