//! Outlines of a mask as polygons.

use contour::ContourBuilder;

use crate::bitmap::Bitmap;

/// One connected part of a mask, in pixels from the top left corner of the picture.
///
/// The edges pass half-way between the centres of pixels inside and outside, so a pixel belongs to
/// the mask exactly if its centre is in the polygon.
#[derive(Clone, Debug, PartialEq)]
pub struct Polygon {
    /// The points of the outline, the first not repeated.
    pub outline: Vec<[f32; 2]>,
    /// The outlines of the holes in it.
    pub holes: Vec<Vec<[f32; 2]>>,
}

impl Polygon {
    /// The outlines of all parts of a mask, by marching squares.
    pub fn of(mask: &Bitmap) -> Vec<Self> {
        let Some([x0, y0, x1, y1]) = mask.bounds() else { return Vec::new() };
        let pixels = (y0..y1).flat_map(|y| (x0..x1).map(move |x| (x, y)));
        let values: Vec<f64> = pixels.map(|(x, y)| f64::from(u8::from(mask.get(x, y)))).collect();
        let builder = ContourBuilder::new((x1 - x0) as usize, (y1 - y0) as usize, false)
            .x_origin(f64::from(x0))
            .y_origin(f64::from(y0));
        // It fails on another number of values alone.
        let contours = builder.contours(&values, &[0.5]).unwrap_or_default();
        let parts = contours.iter().flat_map(|contour| contour.geometry().iter());
        let polygons = parts.map(|part| Self {
            outline: corners(part.exterior().coords().map(|point| [point.x, point.y])),
            holes: part
                .interiors()
                .iter()
                .map(|hole| corners(hole.coords().map(|point| [point.x, point.y])))
                .collect(),
        });
        polygons.collect()
    }
}

/// The points of a closed line without its repeated end, and without those on the way from one to
/// the next.
fn corners(line: impl Iterator<Item = [f64; 2]>) -> Vec<[f32; 2]> {
    let points: Vec<[f64; 2]> = line.skip(1).collect();
    let count = points.len();
    let is_corner = |at: &usize| {
        let [before, point, after] =
            [at + count - 1, *at, at + 1].map(|index| points[index % count]);
        let into = [point[0] - before[0], point[1] - before[1]];
        let out = [after[0] - point[0], after[1] - point[1]];
        // Coordinates are multiples of a half, so what is not 0 is at least a quarter.
        (into[0] * out[1] - into[1] * out[0]).abs() > 0.1
    };
    let corners = (0..count).filter(is_corner).map(|at| points[at]);
    corners.map(|[x, y]| [x as f32, y as f32]).collect()
}
