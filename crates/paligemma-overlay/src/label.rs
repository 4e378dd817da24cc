//! Labels on plates, beside their boxes and off each other.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use paligemma_processor::image::RgbImage;

use crate::Thing;
use crate::canvas::{Area, blend, fill};
use crate::colour::ink;

/// Hack, under the MIT and Bitstream Vera licences.
static FONT: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::try_from_slice(epaint_default_fonts::HACK_REGULAR)
        .expect("a font compiled into the program is whole")
});

/// Line height of labels: a share of the picture's shorter side, between what can still be read
/// and what does not hide the picture.
const LABEL_SHARE: f32 = 1.0 / 28.0;
const LABEL_HEIGHTS: (f32, f32) = (12.0, 48.0);

/// Space between a label and the edge of its plate, in pixels.
const PADDING: i64 = 2;

/// The labels of a drawing, each placed off those before it.
pub(crate) struct Lettering {
    picture: (u32, u32),
    scale: PxScale,
    plates: Vec<Area>,
}

impl Lettering {
    /// Letters of a size for a picture of `width` x `height` pixels.
    pub(crate) fn new((width, height): (u32, u32)) -> Self {
        let (least, most) = LABEL_HEIGHTS;
        let scale = PxScale::from((width.min(height) as f32 * LABEL_SHARE).clamp(least, most));
        Self { picture: (width, height), scale, plates: Vec::new() }
    }

    /// Writes the label of a thing beside its box.
    pub(crate) fn write(&mut self, drawing: &mut RgbImage, thing: &Thing<'_>, colour: [u8; 3]) {
        let mut text = thing.label.to_owned();
        if let Some(confidence) = thing.confidence {
            let longer = format!("{text} {confidence:.2}");
            if self.size(&longer).0 <= i64::from(self.picture.0) {
                text = longer;
            }
        }
        if text.is_empty() {
            return;
        }
        let of = Area::around(thing.edges);
        let plate = place(of, self.size(&text), self.picture, &self.plates);
        fill(drawing, plate, colour);
        self.letters(drawing, &text, plate, ink(colour));
        self.plates.push(plate);
    }

    /// Width and height of a label's plate.
    fn size(&self, text: &str) -> (i64, i64) {
        let font = FONT.as_scaled(self.scale);
        let width: f32 = text.chars().map(|letter| font.h_advance(font.glyph_id(letter))).sum();
        (width.ceil() as i64 + 2 * PADDING, font.height().ceil() as i64 + PADDING)
    }

    fn letters(&self, drawing: &mut RgbImage, text: &str, plate: Area, ink: [u8; 3]) {
        let font = FONT.as_scaled(self.scale);
        let baseline = plate.y0 as f32 + PADDING as f32 / 2.0 + font.ascent();
        let mut left = (plate.x0 + PADDING) as f32;
        for letter in text.chars() {
            let id = font.glyph_id(letter);
            let glyph = id.with_scale_and_position(self.scale, point(left, baseline));
            left += font.h_advance(id);
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            outline.draw(|x, y, cover| {
                let pixel = [corner.x as i64 + i64::from(x), corner.y as i64 + i64::from(y)];
                blend(drawing, pixel, ink, cover);
            });
        }
    }
}

/// Where a label goes: above its box, else inside, else below, and not over another label.
fn place(of: Area, (width, height): (i64, i64), picture: (u32, u32), others: &[Area]) -> Area {
    let (right, bottom) = (i64::from(picture.0), i64::from(picture.1));
    let x0 = of.x0.min(right - width).max(0);
    let at = |y0: i64| Area { x0, y0, x1: x0 + width, y1: y0.saturating_add(height) };
    let spots = [of.y0.saturating_sub(height), of.y0, of.y1, of.y1.saturating_sub(height)].map(at);
    let fits = |spot: &&Area| spot.y0 >= 0 && spot.y1 <= bottom;
    let free = |spot: &&Area| !others.iter().any(|other| spot.overlaps(other));
    let best = spots.iter().filter(fits).find(free).or_else(|| spots.iter().find(fits));
    best.copied().unwrap_or_else(|| at((bottom - height).min(of.y0).max(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stay_in_small_pictures_and_off_each_other() {
        let spot = |of, others: &[Area]| place(of, (60, 14), (112, 112), others);
        let top = Area { x0: 90, y0: 2, x1: 112, y1: 40 };
        let first = spot(top, &[]);
        assert_eq!(first, Area { x0: 52, y0: 2, x1: 112, y1: 16 });
        let second = spot(top, &[first]);
        assert!(!first.overlaps(&second) && second.y1 <= 112, "{second:?}");
        let tiny = place(Area { x0: 0, y0: 0, x1: 3, y1: 3 }, (60, 14), (4, 4), &[]);
        assert_eq!((tiny.x0, tiny.y0), (0, 0));
    }
}
