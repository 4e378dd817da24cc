//! Boxes with their labels, drawn into a copy of the picture and written as a whole or not at all.

use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use paligemma::DetectedBox;
use paligemma::image::{ImageFormat, Rgb, RgbImage};

use crate::error::Error;

/// Hack, under the MIT and Bitstream Vera licences.
static FONT: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::try_from_slice(epaint_default_fonts::HACK_REGULAR)
        .expect("a font compiled into the program is whole")
});

/// Colours that are told apart on any ground, by people who confuse red and green too
/// (after Okabe and Ito 2008). A label keeps its colour.
const COLOURS: [[u8; 3]; 7] = [
    [230, 159, 0],
    [86, 180, 233],
    [0, 158, 115],
    [240, 228, 66],
    [0, 114, 178],
    [213, 94, 0],
    [204, 121, 167],
];

/// Line height of labels: a share of the picture's shorter side, between what can still be read
/// and what does not hide the picture.
const LABEL_SHARE: f32 = 1.0 / 28.0;
const LABEL_HEIGHTS: (f32, f32) = (12.0, 48.0);

/// Space between a label and the edge of its plate, in pixels.
const PADDING: i64 = 2;

/// A picture file to be written, whose format and folder are known to be good.
#[derive(Debug)]
pub(crate) struct OutFile {
    path: PathBuf,
    format: ImageFormat,
}

/// Pixels from the left and top edges, to the right and bottom ones exclusively.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Area {
    x0: i64,
    y0: i64,
    x1: i64,
    y1: i64,
}

impl OutFile {
    /// Checks the name, of which the extension is the format.
    pub(crate) fn new(path: PathBuf) -> Result<Self, Error> {
        let writable = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP];
        let format = ImageFormat::from_path(&path).ok().filter(|format| writable.contains(format));
        let Some(format) = format else { return Err(Error::PictureName { path }) };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) {
            return Err(Error::NoFolder { path });
        }
        Ok(Self { path, format })
    }

    /// Writes the picture beside its place and moves it there, so that no half of it is ever seen.
    pub(crate) fn write(&self, picture: &RgbImage) -> Result<(), Error> {
        let path = || self.path.clone();
        let mut bytes = Cursor::new(Vec::new());
        let encoded = picture.write_to(&mut bytes, self.format);
        encoded.map_err(|source| Error::Encode { path: path(), source })?;
        let written = replace(&self.path, bytes.get_ref());
        written.map_err(|source| Error::Write { path: path(), source })
    }
}

/// Writes a file beside its place and moves it there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let part = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
    let done = std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, path));
    if done.is_err() {
        // The first error is the one to tell.
        std::fs::remove_file(&part).ok();
    }
    done
}

/// A copy of the picture with the boxes, and above them all their labels.
pub(crate) fn draw(picture: &RgbImage, boxes: &[DetectedBox]) -> RgbImage {
    let mut drawing = picture.clone();
    let mut labels: Vec<&str> = Vec::new();
    let mut colours = Vec::new();
    for found in boxes {
        let index = labels.iter().position(|label| *label == found.label);
        let index = index.unwrap_or_else(|| {
            labels.push(&found.label);
            labels.len() - 1
        });
        colours.push(COLOURS[index % COLOURS.len()]);
    }
    let shorter = picture.width().min(picture.height());
    let line = i64::from(shorter / 250).max(1);
    for (found, colour) in boxes.iter().zip(&colours) {
        frame(&mut drawing, area(found), line, *colour);
    }
    let (least, most) = LABEL_HEIGHTS;
    let scale = PxScale::from((shorter as f32 * LABEL_SHARE).clamp(least, most));
    let mut plates = Vec::new();
    for (found, colour) in boxes.iter().zip(&colours) {
        let mut text = format!("{} {:.2}", found.label, found.confidence);
        if size(&text, scale).0 > i64::from(picture.width()) {
            text.truncate(found.label.len());
        }
        let plate = place(area(found), size(&text, scale), picture.dimensions(), &plates);
        fill(&mut drawing, plate, *colour);
        write(&mut drawing, &text, plate, scale, ink(*colour));
        plates.push(plate);
    }
    drawing
}

fn area(found: &DetectedBox) -> Area {
    let [x0, y0, x1, y1] = [found.x0, found.y0, found.x1, found.y1].map(|edge| edge.round() as i64);
    Area { x0, y0, x1: x1.max(x0 + 1), y1: y1.max(y0 + 1) }
}

/// The four sides of a box, `line` pixels thick, inside it.
fn frame(picture: &mut RgbImage, area: Area, line: i64, colour: [u8; 3]) {
    let Area { x0, y0, x1, y1 } = area;
    for side in [
        Area { y1: (y0 + line).min(y1), ..area },
        Area { y0: (y1 - line).max(y0), ..area },
        Area { x1: (x0 + line).min(x1), ..area },
        Area { x0: (x1 - line).max(x0), ..area },
    ] {
        fill(picture, side, colour);
    }
}

fn fill(picture: &mut RgbImage, area: Area, colour: [u8; 3]) {
    let (width, height) = (i64::from(picture.width()), i64::from(picture.height()));
    for y in area.y0.max(0)..area.y1.min(height) {
        for x in area.x0.max(0)..area.x1.min(width) {
            blend(picture, [x, y], colour, 1.0);
        }
    }
}

/// Width and height of a label's plate.
fn size(text: &str, scale: PxScale) -> (i64, i64) {
    let font = FONT.as_scaled(scale);
    let width: f32 = text.chars().map(|letter| font.h_advance(font.glyph_id(letter))).sum();
    (width.ceil() as i64 + 2 * PADDING, font.height().ceil() as i64 + PADDING)
}

/// Where a label goes: above its box, else inside, else below, and not over another label.
fn place(of: Area, (width, height): (i64, i64), picture: (u32, u32), others: &[Area]) -> Area {
    let (right, bottom) = (i64::from(picture.0), i64::from(picture.1));
    let x0 = of.x0.min(right - width).max(0);
    let at = |y0: i64| Area { x0, y0, x1: x0 + width, y1: y0 + height };
    let spots = [of.y0 - height, of.y0, of.y1, of.y1 - height].map(at);
    let fits = |spot: &&Area| spot.y0 >= 0 && spot.y1 <= bottom;
    let free = |spot: &&Area| !others.iter().any(|other| overlap(spot, other));
    let best = spots.iter().filter(fits).find(free).or_else(|| spots.iter().find(fits));
    best.copied().unwrap_or_else(|| at((bottom - height).min(of.y0).max(0)))
}

fn overlap(a: &Area, b: &Area) -> bool {
    a.x0 < b.x1 && b.x0 < a.x1 && a.y0 < b.y1 && b.y0 < a.y1
}

/// Black or white, whichever is read better on the colour (weights: ITU-R BT.601).
fn ink([r, g, b]: [u8; 3]) -> [u8; 3] {
    let light = 299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b);
    if light > 128_000 { [0; 3] } else { [255; 3] }
}

fn write(picture: &mut RgbImage, text: &str, plate: Area, scale: PxScale, ink: [u8; 3]) {
    let font = FONT.as_scaled(scale);
    let baseline = plate.y0 as f32 + PADDING as f32 / 2.0 + font.ascent();
    let mut left = (plate.x0 + PADDING) as f32;
    for letter in text.chars() {
        let id = font.glyph_id(letter);
        let glyph = id.with_scale_and_position(scale, point(left, baseline));
        left += font.h_advance(id);
        let Some(outline) = font.outline_glyph(glyph) else { continue };
        let corner = outline.px_bounds().min;
        outline.draw(|x, y, cover| {
            let pixel = [corner.x as i64 + i64::from(x), corner.y as i64 + i64::from(y)];
            blend(picture, pixel, ink, cover);
        });
    }
}

/// Lays `colour` over a pixel; nothing where that lies outside the picture.
fn blend(picture: &mut RgbImage, [x, y]: [i64; 2], colour: [u8; 3], cover: f32) {
    let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
    let Some(Rgb(pixel)) = picture.get_pixel_mut_checked(x, y) else { return };
    let cover = (cover.clamp(0.0, 1.0) * 255.0).round() as i32;
    for (below, over) in pixel.iter_mut().zip(colour) {
        let (from, to) = (i32::from(*below), i32::from(over));
        *below = u8::try_from(from + (to - from) * cover / 255).unwrap_or(u8::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(label: &str, [x0, y0, x1, y1]: [f32; 4]) -> DetectedBox {
        DetectedBox { label: label.into(), x0, y0, x1, y1, confidence: 0.5 }
    }

    #[test]
    fn a_box_is_framed_and_its_inside_kept() {
        let ground = RgbImage::from_pixel(300, 200, Rgb([10, 20, 30]));
        let drawing = draw(&ground, &[found("cat", [100.0, 80.0, 220.0, 180.0])]);
        for (x, y) in [(100, 80), (219, 80), (100, 179), (219, 179), (150, 179), (100, 120)] {
            assert_eq!(drawing.get_pixel(x, y).0, COLOURS[0], "{x} {y}");
        }
        for (x, y) in [(99, 120), (220, 120), (150, 130), (150, 180), (5, 5)] {
            assert_eq!(drawing.get_pixel(x, y).0, [10, 20, 30], "{x} {y}");
        }
    }

    #[test]
    fn labels_stay_in_small_pictures_and_off_each_other() {
        let spot = |of, others: &[Area]| place(of, (60, 14), (112, 112), others);
        let top = Area { x0: 90, y0: 2, x1: 112, y1: 40 };
        let first = spot(top, &[]);
        assert_eq!(first, Area { x0: 52, y0: 2, x1: 112, y1: 16 });
        let second = spot(top, &[first]);
        assert!(!overlap(&first, &second) && second.y1 <= 112, "{second:?}");
        let tiny = place(Area { x0: 0, y0: 0, x1: 3, y1: 3 }, (60, 14), (4, 4), &[]);
        assert_eq!((tiny.x0, tiny.y0), (0, 0));
    }

    #[test]
    fn letters_are_seen_on_every_colour() {
        let things: Vec<_> = (0..9_u8)
            .map(|i| found(&format!("thing {i}"), [0.0, 20.0 * f32::from(i), 30.0, 200.0]))
            .collect();
        let drawing = draw(&RgbImage::new(112, 200), &things);
        for colour in COLOURS {
            assert!(drawing.pixels().any(|pixel| pixel.0 == colour), "{colour:?}");
            let contrast = ink(colour).iter().zip(colour).map(|(a, b)| a.abs_diff(b)).max();
            assert!(contrast > Some(100));
        }
    }

    #[test]
    fn boxes_outside_or_without_area_do_no_harm() {
        let edges = [-50.0, -50.0, 1e9, 1e9];
        for corners in [edges, [5.0, 5.0, 5.0, 5.0], [900.0, 900.0, 950.0, 950.0]] {
            let drawing = draw(&RgbImage::new(20, 10), &[found("a very long label", corners)]);
            assert_eq!(drawing.dimensions(), (20, 10));
        }
    }
}
