//! Boxes, labels and masks drawn over the picture they were found in.
//!
//! ```
//! use paligemma_overlay::{Thing, draw};
//! use paligemma_processor::{Bitmap, image::RgbImage};
//!
//! let picture = RgbImage::new(320, 240);
//! let mask = Bitmap::from_fn(320, 240, |x, y| (100..180).contains(&x) && (60..200).contains(&y));
//! let cat = Thing {
//!     label: "cat",
//!     confidence: Some(0.9),
//!     edges: [100.0, 60.0, 180.0, 200.0],
//!     mask: Some(&mask),
//! };
//! let drawing = draw(&picture, &[cat]);
//! assert_eq!(drawing.dimensions(), picture.dimensions());
//! assert_ne!(drawing.get_pixel(140, 130), picture.get_pixel(140, 130));
//! assert_eq!(drawing.get_pixel(10, 230), picture.get_pixel(10, 230));
//! ```

mod canvas;
mod colour;
mod label;
mod mask;

use paligemma_processor::Bitmap;
use paligemma_processor::image::RgbImage;

use crate::canvas::{Area, frame};
use crate::colour::colours;
use crate::label::Lettering;

/// Something that was found in a picture.
#[derive(Clone, Copy, Debug)]
pub struct Thing<'a> {
    /// What it is.
    pub label: &'a str,
    /// How sure that is, 0..=1; it stands behind the label where there is room.
    pub confidence: Option<f32>,
    /// Its box in pixels of the picture: x0, y0, x1, y1.
    pub edges: [f32; 4],
    /// Its pixels.
    pub mask: Option<&'a Bitmap>,
}

/// A copy of the picture with the masks, the boxes above them, and above all the labels.
///
/// Things of one label have one colour. What lies outside the picture is not drawn.
pub fn draw(picture: &RgbImage, things: &[Thing<'_>]) -> RgbImage {
    let mut drawing = picture.clone();
    let colours = colours(things.iter().map(|thing| thing.label));
    let shorter = picture.width().min(picture.height());
    // A line is seen in pictures of any size.
    let line = (shorter / 250).max(1);
    for (thing, &colour) in things.iter().zip(&colours) {
        if let Some(mask) = thing.mask {
            mask::tint(&mut drawing, mask, line, colour);
        }
    }
    for (thing, &colour) in things.iter().zip(&colours) {
        frame(&mut drawing, Area::around(thing.edges), i64::from(line), colour);
    }
    let mut lettering = Lettering::new(picture.dimensions());
    for (thing, &colour) in things.iter().zip(&colours) {
        lettering.write(&mut drawing, thing, colour);
    }
    drawing
}
