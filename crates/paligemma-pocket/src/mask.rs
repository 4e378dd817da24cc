//! Masks cut out at their box, and put back.

use image::GrayImage;
use paligemma_processor::{Detection, parse_detections};

/// The numbers of the `<segNNN>` tokens that tell a mask, row by row of its grid.
pub type MaskCodes = [usize; 16];

/// Width and height of a mask that is cut out.
pub const MASK: usize = 64;

/// The part of `picture` inside a box `[x0, y0, x1, y1]` in pixels, at [`MASK`] x [`MASK`], from 0 to 1.
pub fn crop(picture: &GrayImage, [x0, y0, x1, y1]: [f32; 4]) -> Vec<f32> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let span = |low: f32, high: f32, end: usize| {
        let low = (low.round() as usize).min(end - 1);
        (low, (high.round() as usize).clamp(low + 1, end))
    };
    let ((left, right), (top, bottom)) = (span(x0, x1, width), span(y0, y1, height));
    let values: Vec<f32> = (top..bottom)
        .flat_map(|y| (left..right).map(move |x| (x, y)))
        .map(|(x, y)| f32::from(u8::from(picture.get_pixel(x as u32, y as u32).0[0] >= 128)))
        .collect();
    resize(&values, [right - left, bottom - top], [MASK, MASK])
}

/// Bilinear, antialiased when shrinking.
pub fn resize(values: &[f32], [width, height]: [usize; 2], [to_w, to_h]: [usize; 2]) -> Vec<f32> {
    let rows = pass(values, width, height, to_w);
    pass(&rows, height, to_w, to_h)
}

/// Resamples rows and transposes.
fn pass(values: &[f32], width: usize, height: usize, to: usize) -> Vec<f32> {
    let scale = width as f32 / to as f32;
    let stretch = scale.max(1.0);
    let mut out = vec![0.0; to * height];
    for x in 0..to {
        let centre = (x as f32 + 0.5) * scale;
        let first = (centre - stretch + 0.5).max(0.0) as usize;
        let end = ((centre + stretch + 0.5) as usize).min(width);
        let weight = |at: usize| (1.0 - ((at as f32 + 0.5 - centre) / stretch).abs()).max(0.0);
        let total: f32 = (first..end).map(weight).sum();
        for y in 0..height {
            let sum: f32 = (first..end).map(|at| weight(at) * values[y * width + at]).sum();
            out[x * height + y] = sum / total;
        }
    }
    out
}

/// Pixels in both masks over pixels in either; zero of nothing.
pub fn overlap(a: &[bool], b: &[bool]) -> f32 {
    let both = a.iter().zip(b).filter(|(a, b)| **a && **b).count();
    let either = a.iter().zip(b).filter(|(a, b)| **a || **b).count();
    both as f32 / either.max(1) as f32
}

/// Boxes with the codes of their masks, in an answer to `segment`; what has none or is cut off is left out.
pub fn parse_segmentations(text: &str) -> Vec<(Detection, MaskCodes)> {
    text.split(';').filter_map(segmentation).collect()
}

fn segmentation(text: &str) -> Option<(Detection, MaskCodes)> {
    let start = text.find("<seg")?;
    let mut rest = &text[start..];
    let mut codes = MaskCodes::default();
    for code in &mut codes {
        let (number, after) = rest.strip_prefix("<seg")?.split_once('>')?;
        (*code, rest) = (number.parse().ok().filter(|&code| code < 128)?, after);
    }
    let found = parse_detections(&format!("{}{rest}", &text[..start])).pop()?;
    Some((found, codes))
}

/// The pixels of a picture of `side` x `side` that a decoded mask covers in a box.
pub fn paste(decoded: &[f32], found: &Detection, side: u32) -> Vec<bool> {
    let side = side as usize;
    let pixel = |edge: f32| (edge * side as f32).round() as usize;
    let (left, top) = (pixel(found.x0), pixel(found.y0));
    let size = [pixel(found.x1).max(left + 1) - left, pixel(found.y1).max(top + 1) - top];
    let values = resize(decoded, [MASK; 2], size);
    let mut all = vec![false; side * side];
    for (index, value) in values.into_iter().enumerate() {
        let (x, y) = (left + index % size[0], top + index / size[0]);
        if x < side && y < side {
            all[y * side + x] = value > 0.0;
        }
    }
    all
}
