//! Pictures varied as the published configurations do.
//!
//! All of the best published runs only resize (`crop='rs'`). Their configurations offer crops too,
//! and those are here; none of them mirrors a picture or changes its colours.

mod boxes;
mod distorted;

use std::fmt;
use std::str::FromStr;

use paligemma_processor::image::{RgbImage, imageops};
use rand::Rng;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Use;
use distorted::Distorted;

/// How pictures are varied before they are resized to what the model sees.
///
/// Sources are files of google-research/big_vision.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Augmentation {
    /// Not at all: every preset.
    #[default]
    None,
    /// A part of at least half the area and of any shape from 3:4 to 4:3, anywhere:
    /// `inception_crop(area_min=50)`, `crop='ic'` of `transfers/cococap.py`, `coco35l.py` and
    /// `textcaps.py`; the op is in `pp/ops_image.py`.
    InceptionCrop,
    /// A square of seven eighths of the shorter side, anywhere: `resize_small(8/7)|random_crop`,
    /// `crop='rc'` of the same. It is cut out of the picture as it is, so that this is resized once.
    RandomCrop,
    /// A part of at least a tenth of the area and of any shape from 3:4 to 4:3 that holds all boxes
    /// of the suffix, which are moved along: `inception_box` with `min_obj_cover=1.0`,
    /// `crop='zic_mild'` of `transfers/refcoco_seg.py`; the op is in `pp/proj/uvim/pp_ops.py`. That
    /// configuration zooms out before, by an op that was never published.
    BoxCrop,
}

/// An augmentation that there is not.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("there is no augmentation `{name}`: give none, inception-crop, random-crop or box-crop")]
pub struct NoSuchAugmentation {
    /// What was asked for.
    pub name: String,
}

/// All by name.
const NAMES: [(Augmentation, &str); 4] = [
    (Augmentation::None, "none"),
    (Augmentation::InceptionCrop, "inception-crop"),
    (Augmentation::RandomCrop, "random-crop"),
    (Augmentation::BoxCrop, "box-crop"),
];

impl FromStr for Augmentation {
    type Err = NoSuchAugmentation;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = NAMES.into_iter().find(|(_, known)| *known == name);
        let missing = || NoSuchAugmentation { name: name.to_owned() };
        found.map(|(augmentation, _)| augmentation).ok_or_else(missing)
    }
}

impl fmt::Display for Augmentation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, name) = NAMES[*self as usize];
        formatter.pad(name)
    }
}

/// Crops of `inception_crop`: the area, and the shapes that TensorFlow has by default.
const HALF: Distorted = Distorted { area: (0.5, 1.0), shape: (0.75, 1.33) };
/// Crops of `inception_box`.
const TENTH: Distorted = Distorted { area: (0.1, 1.0), shape: (3.0 / 4.0, 4.0 / 3.0) };

impl Augmentation {
    /// Varies the pictures of an example, and its suffix where that has boxes, for one use of it.
    ///
    /// Each of several pictures is varied for itself. Boxes are of a single picture, so several are
    /// left as they are by [`Augmentation::BoxCrop`], and so is a picture without boxes.
    pub fn apply(self, pictures: Vec<RgbImage>, suffix: &str, at: Use) -> (Vec<RgbImage>, String) {
        let mut generator = at.generator();
        let mut suffix = suffix.to_owned();
        if self == Self::BoxCrop && pictures.len() != 1 {
            return (pictures, suffix);
        }
        let vary = |picture: RgbImage| {
            let size = picture.dimensions();
            let part = match self {
                Self::None => return picture,
                Self::InceptionCrop => HALF.draw(size, None, &mut generator),
                Self::RandomCrop => square(size, &mut generator),
                Self::BoxCrop => {
                    let Some(around) = boxes::around(&suffix, size) else { return picture };
                    let part = TENTH.draw(size, Some(around), &mut generator);
                    suffix = boxes::within(&suffix, size, part);
                    part
                }
            };
            crop(&picture, part)
        };
        (pictures.into_iter().map(vary).collect(), suffix)
    }
}

/// A part of a picture: left, top, width and height in pixels.
type Part = [u32; 4];

fn crop(picture: &RgbImage, [left, top, width, height]: Part) -> RgbImage {
    imageops::crop_imm(picture, left, top, width, height).to_image()
}

/// A square of seven eighths of the shorter side, of one pixel at least, anywhere.
fn square((width, height): (u32, u32), generator: &mut impl Rng) -> Part {
    let side = (f64::from(width.min(height)) * 7.0 / 8.0).round() as u32;
    let mut anywhere = |length: u32| generator.random_range(0..=length - side);
    [anywhere(width), anywhere(height), side, side]
}

#[cfg(test)]
mod tests;
