//! Parts of pictures of random area and shape, as `tf.image.sample_distorted_bounding_box` draws
//! them.

use rand::Rng;

use super::Part;

/// Which parts are drawn.
pub(super) struct Distorted {
    /// The smallest and largest share of the picture's area.
    pub(super) area: (f64, f64),
    /// The narrowest and widest shape, as width over height.
    pub(super) shape: (f64, f64),
}

/// Draws before the whole picture is taken.
const ATTEMPTS: usize = 100;

impl Distorted {
    /// A part of a picture of this width and height that holds `around`, a box `[x0, y0, x1, y1]`
    /// in whole pixels; the whole picture where none was drawn that does.
    ///
    /// A shape is drawn, then a height among those that keep the area within its bounds, then a
    /// place (`GenerateRandomCrop` of TensorFlow's `sample_distorted_bounding_box_op.cc`).
    pub(super) fn draw(
        &self,
        (width, height): (u32, u32),
        around: Option<[u32; 4]>,
        generator: &mut impl Rng,
    ) -> Part {
        let holds = |[left, top, width, height]: Part| {
            around.is_none_or(|[x0, y0, x1, y1]| {
                left <= x0 && top <= y0 && x1 <= left + width && y1 <= top + height
            })
        };
        let attempts = (0..ATTEMPTS).find_map(|_| {
            let shape = generator.random_range(self.shape.0..self.shape.1);
            self.of_shape(shape, (width, height), generator).filter(|part| holds(*part))
        });
        attempts.unwrap_or([0, 0, width, height])
    }

    fn of_shape(
        &self,
        shape: f64,
        (width, height): (u32, u32),
        generator: &mut impl Rng,
    ) -> Option<Part> {
        let whole = f64::from(width) * f64::from(height);
        let (least, most) = (self.area.0 * whole, self.area.1 * whole);
        // Widths are rounded, so the last height whose width fits lies half a pixel beyond.
        let fits = ((f64::from(width) + 0.5 - 1e-7) / shape) as u32;
        let highest = ((most / shape).sqrt().round_ties_even() as u32).min(fits).min(height);
        let lowest = ((least / shape).sqrt().round_ties_even() as u32).min(highest);
        let mut part_height = generator.random_range(lowest..=highest);
        let width_of = |height: u32| (f64::from(height) * shape).round_ties_even() as u32;
        let area_of = |height: u32| f64::from(width_of(height)) * f64::from(height);
        // Rounding may have left the bounds.
        if area_of(part_height) < least {
            part_height += 1;
        }
        if area_of(part_height) > most {
            part_height = part_height.checked_sub(1)?;
        }
        let (part_width, area) = (width_of(part_height), area_of(part_height));
        let is_sound = (least..=most).contains(&area)
            && (1..=width).contains(&part_width)
            && (1..=height).contains(&part_height);
        if !is_sound {
            return None;
        }
        // TensorFlow never draws the last place of those possible.
        let mut place = |free: u32| if free == 0 { 0 } else { generator.random_range(0..free) };
        let (left, top) = (place(width - part_width), place(height - part_height));
        Some([left, top, part_width, part_height])
    }
}
