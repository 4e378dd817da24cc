//! Outlines to masks, pixel by pixel as `pycocotools` fills them.

use crate::picture::MAX_SIDE;
use crate::rle::Rle;

/// Steps of a pixel that an outline is drawn in.
const SCALE: i64 = 5;

impl Rle {
    /// The mask that an outline encloses in a picture of this height and width.
    ///
    /// Points are `[x, y]` in pixels from the top left corner, the first not repeated. The outline is
    /// drawn five times as large, and where it crosses the middle of a column of pixels the runs
    /// begin and end (`rleFrPoly` in `common/maskApi.c` of
    /// <https://github.com/cocodataset/cocoapi>). Points far outside are drawn as if nearer.
    pub fn of_outline(points: &[[f64; 2]], [height, width]: [u32; 2]) -> Self {
        let mut crossings: Vec<u64> = drawn(points)
            .windows(2)
            .filter_map(|pair| crossing(pair[0], pair[1], [height, width]))
            .collect();
        crossings.push(u64::from(height) * u64::from(width));
        crossings.sort_unstable();
        Self { size: [height, width], counts: runs(&crossings) }
    }
}

/// The points of a closed outline, five to a pixel and without gaps.
fn drawn(points: &[[f64; 2]]) -> Vec<[i64; 2]> {
    let reach = f64::from(2 * MAX_SIDE);
    let fine = |value: f64| (value.clamp(-reach, reach) * SCALE as f64 + 0.5) as i64;
    let corners: Vec<[i64; 2]> = points.iter().map(|point| point.map(fine)).collect();
    let next = corners.iter().cycle().skip(1);
    corners.iter().zip(next).flat_map(|(&from, &to)| line(from, to)).collect()
}

/// The points of a line in steps of one along its longer axis.
///
/// It is computed from the lower end whichever way it goes, so that two things that share an edge
/// share its points.
fn line(from: [i64; 2], to: [i64; 2]) -> impl Iterator<Item = [i64; 2]> {
    let along = usize::from((to[0] - from[0]).abs() < (to[1] - from[1]).abs());
    let across = 1 - along;
    let flipped = from[along] > to[along];
    let (low, high) = if flipped { (to, from) } else { (from, to) };
    let length = high[along] - low[along];
    let slope = (high[across] - low[across]) as f64 / length.max(1) as f64;
    (0..=length).map(move |step| {
        let step = if flipped { length - step } else { step };
        let mut point = [0; 2];
        point[along] = low[along] + step;
        point[across] = (low[across] as f64 + slope * step as f64 + 0.5) as i64;
        point
    })
}

/// Where two neighbouring points cross the middle of a column of pixels, as the number of pixels
/// before it, counted down the columns.
fn crossing(before: [i64; 2], point: [i64; 2], [height, width]: [u32; 2]) -> Option<u64> {
    if before[0] == point[0] {
        return None;
    }
    let pixel = |fine: i64| (fine as f64 + 0.5) / SCALE as f64 - 0.5;
    let column = pixel(if point[0] < before[0] { point[0] } else { point[0] - 1 });
    if column.fract() != 0.0 || column < 0.0 || column > f64::from(width) - 1.0 {
        return None;
    }
    let row = pixel(point[1].min(before[1])).clamp(0.0, f64::from(height)).ceil();
    Some(column as u64 * u64::from(height) + row as u64)
}

/// Lengths between crossings. Two crossings at one place are none.
fn runs(crossings: &[u64]) -> Vec<u32> {
    let mut counts: Vec<u32> = Vec::new();
    let (mut last, mut joins) = (0, false);
    for &crossing in crossings {
        let length = (crossing - last) as u32;
        last = crossing;
        match counts.last_mut() {
            Some(count) if joins => {
                *count += length;
                joins = false;
            }
            Some(_) if length == 0 => joins = true,
            _ => counts.push(length),
        }
    }
    counts
}
