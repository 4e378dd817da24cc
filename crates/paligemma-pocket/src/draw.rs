//! Scenes to pixels, anti-aliased.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, Glyph, PxScale, point};
use image::RgbImage;
use paligemma_processor::{Bitmap, crop_mask};
use tiny_skia::{
    FillRule, Paint, Path, PathBuilder, Pixmap, PremultipliedColorU8, Rect, Transform,
};

use crate::scene::{Ground, PADDING, PlatedText, SIDE, Scene, mix};
use crate::thing::{Shape, Thing};

/// Hack, under the MIT and Bitstream Vera licences.
static FONT: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::try_from_slice(epaint_default_fonts::HACK_REGULAR)
        .expect("a font compiled into the program is whole")
});

/// Height of the font between its highest and lowest reach, in heights of a capital.
const LINE_TO_CAP: f32 = 2384.0 / 1493.0;

/// A picture in the making, so many times larger than the scene's own pixels.
struct Canvas {
    pixels: Pixmap,
    scale: f32,
}

impl Scene {
    /// The picture of the scene, [`SIDE`] pixels wide and high.
    pub fn render(&self) -> RgbImage {
        self.render_at(1)
    }

    /// The same picture for people to look at, `scale` times as wide and high.
    ///
    /// # Panics
    /// If `scale` is zero.
    pub fn render_at(&self, scale: u32) -> RgbImage {
        let mut canvas = Canvas::new(scale);
        canvas.fill_ground(&self.ground);
        for thing in &self.things {
            canvas.fill_thing(thing, thing.paint);
        }
        for text in &self.plates {
            canvas.fill_plate(text, [mix(text.plate, text.ink, 0.5), text.plate]);
            canvas.write(text);
        }
        let side = canvas.pixels.width();
        let pixels = canvas.pixels.data().chunks_exact(4);
        let pixels = pixels.flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]);
        RgbImage::from_raw(side, side, pixels.collect()).expect("three bytes for every pixel")
    }

    /// Which pixels of [`Scene::render_at`] show the thing at `index`: those that its outline
    /// covers by half at least, less what is painted over it. None without such a thing.
    ///
    /// # Panics
    /// If `scale` is zero.
    pub fn mask_at(&self, index: usize, scale: u32) -> Bitmap {
        let mut canvas = Canvas::new(scale);
        for (at, thing) in self.things.iter().enumerate() {
            canvas.fill_thing(thing, if at == index { [255; 3] } else { [0; 3] });
        }
        for text in &self.plates {
            canvas.fill_plate(text, [[0; 3]; 2]);
        }
        covered(&canvas.pixels)
    }

    /// The mask of the thing at `index` within its box, as an encoder of masks takes it; zeros
    /// without such a thing.
    pub fn cut_out(&self, index: usize) -> Vec<f32> {
        let box_ = self.things.get(index).map_or([0.0; 4], |thing| thing.box_);
        let box_ = box_.map(|edge| edge * MASK_SCALE as f32);
        crop_mask(&self.mask_at(index, MASK_SCALE), box_)
    }
}

/// How many times as fine as pictures masks are learned and compared: as people look at them.
pub const MASK_SCALE: u32 = 4;

/// The pixels of a white outline on nothing that it covers by half at least.
pub(crate) fn covered(pixels: &Pixmap) -> Bitmap {
    let half = |pixel: PremultipliedColorU8| pixel.red() >= 128;
    Bitmap::from_fn(pixels.width(), pixels.height(), |x, y| pixels.pixel(x, y).is_some_and(half))
}

impl Canvas {
    /// A transparent canvas.
    fn new(scale: u32) -> Self {
        let side = SIDE * scale;
        let pixels = Pixmap::new(side, side).expect("a size above zero");
        Self { pixels, scale: scale as f32 }
    }

    fn fill_ground(&mut self, ground: &Ground) {
        let (width, scale) = (self.pixels.width() as usize, self.scale);
        let pixels = self.pixels.data_mut().chunks_exact_mut(4);
        let put = |pixel: &mut [u8], [r, g, b]: [u8; 3]| pixel.copy_from_slice(&[r, g, b, 255]);
        // Where a pixel's centre lies in the scene.
        let place = |at: usize| (at as f32 + 0.5) / scale;
        match *ground {
            Ground::Plain(paint) => pixels.for_each(|pixel| put(pixel, paint)),
            Ground::Gradient { from, to, angle } => {
                let (sin, cos) = angle.sin_cos();
                let (half, reach) = (SIDE as f32 / 2.0, sin.abs() + cos.abs());
                for (index, pixel) in pixels.enumerate() {
                    let x = place(index % width) / half - 1.0;
                    let y = place(index / width) / half - 1.0;
                    put(pixel, mix(from, to, f32::midpoint((x * cos + y * sin) / reach, 1.0)));
                }
            }
            Ground::Noisy { paint, amplitude, grain, seed } => {
                let grain = grain as usize;
                for (index, pixel) in pixels.enumerate() {
                    let x = place(index % width) as usize / grain;
                    let y = place(index / width) as usize / grain;
                    let level = noise(seed, y as u64 * u64::from(SIDE) + x as u64, amplitude);
                    put(pixel, paint.map(|channel| channel.saturating_add_signed(level)));
                }
            }
        }
    }

    fn fill(&mut self, path: &Path, paint: [u8; 3]) {
        let transform = Transform::from_scale(self.scale, self.scale);
        self.pixels.fill_path(path, &solid(paint), FillRule::Winding, transform, None);
    }

    fn fill_thing(&mut self, thing: &Thing, paint: [u8; 3]) {
        if let Some(path) = outline(thing.shape, thing.box_) {
            self.fill(&path, paint);
        }
    }

    fn fill_plate(&mut self, text: &PlatedText, [rim, inside]: [[u8; 3]; 2]) {
        let [x0, y0, x1, y1] = text.box_;
        for (inset, colour) in [(0.0, rim), (1.0, inside)] {
            let area = Rect::from_ltrb(x0 + inset, y0 + inset, x1 - inset, y1 - inset);
            if let Some(path) = area.map(PathBuilder::from_rect) {
                self.fill(&path, colour);
            }
        }
    }

    fn write(&mut self, text: &PlatedText) {
        let font = PxScale::from(text.cap_height * LINE_TO_CAP * self.scale);
        let advance = text.advance();
        let baseline = (text.box_[1] + PADDING + text.cap_height) * self.scale;
        for (index, letter) in text.text.chars().enumerate() {
            let left = (text.box_[0] + PADDING + index as f32 * advance) * self.scale;
            let glyph: Glyph =
                FONT.glyph_id(letter).with_scale_and_position(font, point(left, baseline));
            let Some(outlined) = FONT.outline_glyph(glyph) else { continue };
            let corner = outlined.px_bounds().min;
            outlined.draw(|x, y, cover| {
                let (x, y) = (corner.x as i64 + i64::from(x), corner.y as i64 + i64::from(y));
                self.blend([x, y], text.ink, cover);
            });
        }
    }

    /// Lays `paint` over the pixel at `[x, y]`; nothing where that lies outside the picture.
    fn blend(&mut self, [x, y]: [i64; 2], paint: [u8; 3], cover: f32) {
        let side = i64::from(self.pixels.width());
        if (0..side).contains(&x) && (0..side).contains(&y) {
            let start = 4 * (y * side + x) as usize;
            let pixel = &mut self.pixels.data_mut()[start..start + 3];
            let mixed = mix([pixel[0], pixel[1], pixel[2]], paint, cover.min(1.0));
            pixel.copy_from_slice(&mixed);
        }
    }
}

/// A level from `-amplitude` to `amplitude`, a pure function of seed and place. The mixer is
/// `SplitMix64`'s (Steele, Lea and Flood 2014): a picture has 12,544 pixels, too many for a
/// cryptographic stream.
fn noise(seed: u64, place: u64, amplitude: u8) -> i8 {
    let mut bits = seed.wrapping_add(place.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let range = 2 * u64::from(amplitude) + 1;
    (((bits >> 32) * range) >> 32) as i8 - amplitude as i8
}

pub(crate) fn solid([r, g, b]: [u8; 3]) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(r, g, b, 255);
    paint
}

/// The outline of a shape in its box; `None` for an empty box, which has no outline.
pub(crate) fn outline(shape: Shape, [x0, y0, x1, y1]: [f32; 4]) -> Option<Path> {
    let Some(corners) = shape.corners() else {
        return PathBuilder::from_oval(Rect::from_ltrb(x0, y0, x1, y1)?);
    };
    let mut builder = PathBuilder::new();
    for (index, [u, v]) in corners.into_iter().enumerate() {
        let (x, y) = (x0 + u * (x1 - x0), y0 + v * (y1 - y0));
        if index == 0 { builder.move_to(x, y) } else { builder.line_to(x, y) }
    }
    builder.close();
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thing::Size;

    /// How far a pixel is from a paint, in the worst channel.
    fn off(pixel: image::Rgb<u8>, paint: [u8; 3]) -> u8 {
        pixel.0.iter().zip(paint).map(|(&a, b)| a.abs_diff(b)).max().unwrap_or(0)
    }

    #[test]
    fn a_thing_is_painted_inside_its_box_and_nowhere_else() {
        for seed in 0..200 {
            let mut scene = Scene::generate(seed, 1..=4);
            scene.plates.clear();
            scene.ground = Ground::Plain([120, 124, 128]);
            let picture = scene.render();
            for (x, y, pixel) in picture.enumerate_pixels() {
                let (x, y) = (x as f32, y as f32);
                let touched = scene.things.iter().any(|thing| {
                    let [x0, y0, x1, y1] = thing.box_;
                    x + 1.0 > x0 && y + 1.0 > y0 && x < x1 && y < y1
                });
                assert!(touched || off(*pixel, [120, 124, 128]) == 0, "{seed} {x} {y}");
            }
            for thing in &scene.things {
                let [x, y] = thing.centre();
                assert!(off(*picture.get_pixel(x as u32, y as u32), thing.paint) <= 1);
            }
        }
    }

    #[test]
    fn a_mask_is_what_white_on_black_would_show() {
        for seed in 0..60 {
            let scene = Scene::generate(seed, 1..=4);
            for index in 0..scene.things.len() {
                let mut lit = scene.clone();
                lit.ground = Ground::Plain([0; 3]);
                for (at, thing) in lit.things.iter_mut().enumerate() {
                    thing.paint = if at == index { [255; 3] } else { [0; 3] };
                }
                for text in &mut lit.plates {
                    (text.plate, text.ink) = ([0; 3], [0; 3]);
                }
                for scale in [1, 4] {
                    let picture = lit.render_at(scale);
                    let mask = scene.mask_at(index, scale);
                    for (x, y, pixel) in picture.enumerate_pixels() {
                        assert_eq!(mask.get(x, y), pixel.0[0] >= 128, "{seed} {index} {x} {y}");
                    }
                }
            }
            assert_eq!(scene.mask_at(scene.things.len(), 1).area(), 0);
        }
    }

    #[test]
    fn a_plate_over_a_thing_hides_it() {
        let mut scene = (0..).map(|seed| Scene::generate(seed, 1..=1));
        let mut scene = scene.find(|scene| !scene.plates.is_empty()).unwrap();
        let [x0, y0, x1, y1] = scene.things[0].box_;
        let area = |scene: &Scene| scene.mask_at(0, 1).area();
        let whole = area(&scene);
        scene.plates[0].box_ = [x0, y0, x1, f32::midpoint(y0, y1)];
        let half = area(&scene);
        assert!(half > 0 && half < whole);
        scene.plates[0].box_ = [x0 - 1.0, y0 - 1.0, x1 + 1.0, y1 + 1.0];
        assert_eq!(area(&scene), 0);
    }

    #[test]
    fn coverage_follows_the_box_below_a_pixel() {
        let area = |x0: f32| {
            let thing = Thing {
                colour: crate::Colour::White,
                shape: Shape::Square,
                size: Size::Small,
                box_: [x0, 20.0, x0 + 16.0, 36.0],
                paint: [255; 3],
            };
            let (seed, plates, ground) = (0, Vec::new(), Ground::Plain([0; 3]));
            let picture = Scene { seed, things: vec![thing], plates, ground }.render();
            let column = |x: u32| f32::from(picture.get_pixel(x, 28).0[0]) / 255.0;
            (column(20), column(36))
        };
        assert_eq!(area(20.0), (1.0, 0.0));
        let (left, right) = area(20.25);
        assert!((left - 0.75).abs() < 0.02 && (right - 0.25).abs() < 0.02, "{left} {right}");
    }

    #[test]
    fn letters_stay_on_their_plate_and_are_tall_enough_to_read() {
        for seed in 0..200 {
            let mut scene = Scene::generate(seed, 1..=1);
            let Some(text) = scene.plates.first_mut() else { continue };
            (text.plate, text.ink) = ([0; 3], [255; 3]);
            let box_ = text.box_;
            let written = scene.render();
            scene.plates[0].text = " ".repeat(scene.plates[0].text.len());
            let blank = scene.render();
            let changed: Vec<(u32, u32)> = written
                .enumerate_pixels()
                .filter(|(x, y, pixel)| off(**pixel, blank.get_pixel(*x, *y).0) > 40)
                .map(|(x, y, _)| (x, y))
                .collect();
            for &(x, y) in &changed {
                let (x, y) = (x as f32 + 0.5, y as f32 + 0.5);
                assert!(box_[0] < x && x < box_[2] && box_[1] < y && y < box_[3], "{seed}");
            }
            let top = changed.iter().map(|place| place.1).min().unwrap();
            let bottom = changed.iter().map(|place| place.1).max().unwrap();
            assert!(bottom - top >= 8, "{seed}: {top} to {bottom}");
        }
    }

    #[test]
    fn noise_fills_its_range_evenly() {
        let levels: Vec<i8> = (0..12_544).map(|place| noise(3, place, 10)).collect();
        for level in -10..=10i8 {
            let count = levels.iter().filter(|&&l| l == level).count();
            assert!((480..720).contains(&count), "{level}: {count}");
        }
        assert!(levels.iter().all(|level| level.abs() <= 10));
    }
}
