//! The `segmentation` of an annotation: outlines or run lengths.

use paligemma_processor::{Bitmap, Rle, crop_mask};
use serde::Deserialize;
use serde_json::Value;

use crate::Problem;

/// The shape of an object.
#[derive(Default, Deserialize)]
#[serde(try_from = "Value")]
pub(super) enum Shape {
    /// The annotation has none.
    #[default]
    Missing,
    /// The outlines of its parts, as points `[x, y]` in pixels.
    Outlines(Vec<Vec<[f64; 2]>>),
    /// Run lengths.
    Runs(Rle),
}

/// Run lengths as they are written.
#[derive(Deserialize)]
struct Runs {
    size: [u32; 2],
    counts: Counts,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Counts {
    Numbers(Vec<u32>),
    Text(String),
}

impl TryFrom<Value> for Shape {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        if value.is_object() {
            let Runs { size, counts } =
                serde_json::from_value(value).map_err(|error| format!("segmentation: {error}"))?;
            let runs = match counts {
                Counts::Numbers(counts) => Ok(Rle { size, counts }),
                Counts::Text(text) => Rle::from_compressed(size, &text),
            };
            return runs.map(Self::Runs).map_err(|error| format!("segmentation: {error}"));
        }
        let outlines: Vec<Vec<f64>> = serde_json::from_value(value)
            .map_err(|_| "segmentation: neither outlines nor run lengths".to_owned())?;
        let points = |outline: &Vec<f64>| match outline.as_chunks() {
            (points, []) if points.len() >= 3 => Ok(points.to_vec()),
            _ => {
                Err("segmentation: an outline is three or more points, x and y in turn".to_owned())
            }
        };
        outlines.iter().map(points).collect::<Result<_, _>>().map(Self::Outlines)
    }
}

impl Shape {
    /// The part of the mask in a box of left, top, right and bottom edge, for the encoder.
    pub(super) fn within(&self, edges: [f64; 4], size: (u32, u32)) -> Result<Vec<f32>, Problem> {
        let mask = crop_mask(&self.bitmap(size)?, edges.map(|edge| edge as f32));
        if mask.iter().any(|value| *value > 0.0) { Ok(mask) } else { Err(Problem::Degenerate) }
    }

    /// The mask of the whole picture.
    fn bitmap(&self, (width, height): (u32, u32)) -> Result<Bitmap, Problem> {
        let damaged = |reason: String| Problem::Malformed { reason };
        match self {
            Self::Missing => Err(Problem::MissingKey { key: "segmentation" }),
            Self::Outlines(outlines) => {
                let fill = |points: &Vec<[f64; 2]>| Rle::of_outline(points, [height, width]);
                let empty = Bitmap::from_fn(width, height, |_, _| false);
                outlines.iter().map(fill).try_fold(empty, |all, runs| {
                    let part = runs.bitmap().map_err(|error| damaged(error.to_string()))?;
                    Ok(all.union(&part))
                })
            }
            Self::Runs(runs) if runs.size != [height, width] => Err(damaged(format!(
                "run lengths of {} x {} pixels, the picture has {width} x {height}",
                runs.size[1], runs.size[0]
            ))),
            Self::Runs(runs) => runs.bitmap().map_err(|error| damaged(error.to_string())),
        }
    }
}
