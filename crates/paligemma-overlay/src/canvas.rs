//! Pixels, rectangles and frames of a drawing; nothing is drawn outside it.

use paligemma_processor::image::{Rgb, RgbImage};

/// Pixels from the left and top edges, to the right and bottom ones exclusively.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) x0: i64,
    pub(crate) y0: i64,
    pub(crate) x1: i64,
    pub(crate) y1: i64,
}

impl Area {
    /// The pixels of a box, at least one.
    pub(crate) fn around(edges: [f32; 4]) -> Self {
        let [x0, y0, x1, y1] = edges.map(|edge| edge.round() as i64);
        Self { x0, y0, x1: x1.max(x0.saturating_add(1)), y1: y1.max(y0.saturating_add(1)) }
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.x0 < other.x1 && other.x0 < self.x1 && self.y0 < other.y1 && other.y0 < self.y1
    }
}

/// The four sides of a box, `line` pixels thick, inside it.
pub(crate) fn frame(picture: &mut RgbImage, area: Area, line: i64, colour: [u8; 3]) {
    let Area { x0, y0, x1, y1 } = area;
    for side in [
        Area { y1: y0.saturating_add(line).min(y1), ..area },
        Area { y0: y1.saturating_sub(line).max(y0), ..area },
        Area { x1: x0.saturating_add(line).min(x1), ..area },
        Area { x0: x1.saturating_sub(line).max(x0), ..area },
    ] {
        fill(picture, side, colour);
    }
}

pub(crate) fn fill(picture: &mut RgbImage, area: Area, colour: [u8; 3]) {
    let (width, height) = (i64::from(picture.width()), i64::from(picture.height()));
    for y in area.y0.max(0)..area.y1.min(height) {
        for x in area.x0.max(0)..area.x1.min(width) {
            blend(picture, [x, y], colour, 1.0);
        }
    }
}

/// Lays `colour` over a pixel; nothing where that lies outside the picture.
pub(crate) fn blend(picture: &mut RgbImage, [x, y]: [i64; 2], colour: [u8; 3], cover: f32) {
    let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
    let Some(Rgb(pixel)) = picture.get_pixel_mut_checked(x, y) else { return };
    let cover = (cover.clamp(0.0, 1.0) * 255.0).round() as i32;
    for (below, over) in pixel.iter_mut().zip(colour) {
        let (from, to) = (i32::from(*below), i32::from(over));
        *below = u8::try_from(from + (to - from) * cover / 255).unwrap_or(u8::MAX);
    }
}
