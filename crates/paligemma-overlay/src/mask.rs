//! Masks: tinted, with an outline.

use paligemma_processor::Bitmap;
use paligemma_processor::image::RgbImage;

use crate::canvas::blend;

/// How much of the picture a tint hides: enough to be seen, not so much that what is below is not.
const COVER: f32 = 0.45;

/// Lays a colour over the pixels of a mask, fully along its edge.
pub(crate) fn tint(picture: &mut RgbImage, mask: &Bitmap, line: u32, colour: [u8; 3]) {
    let Some([x0, y0, x1, y1]) = mask.bounds() else { return };
    for (x, y) in (y0..y1).flat_map(|y| (x0..x1).map(move |x| (x, y))) {
        if mask.get(x, y) {
            blend(picture, [x, y].map(i64::from), colour, COVER);
        }
    }
    for y in y0..y1 {
        edges(
            [x0, x1],
            line,
            |x| mask.get(x, y),
            |x| {
                blend(picture, [x, y].map(i64::from), colour, 1.0);
            },
        );
    }
    for x in x0..x1 {
        edges(
            [y0, y1],
            line,
            |y| mask.get(x, y),
            |y| {
                blend(picture, [x, y].map(i64::from), colour, 1.0);
            },
        );
    }
}

/// Goes along a row or column and shows the first and last `line` pixels of every run of the mask.
fn edges(
    [start, end]: [u32; 2],
    line: u32,
    belongs: impl Fn(u32) -> bool,
    mut show: impl FnMut(u32),
) {
    let mut at = start;
    while at < end {
        let length = (at..end).take_while(|&at| belongs(at)).count() as u32;
        let run = at..at + length;
        run.clone().filter(|at| at - run.start < line || run.end - at <= line).for_each(&mut show);
        // What ended the run does not belong to it.
        at = run.end + 1;
    }
}
