//! The coloured shapes that scenes are made of: their names, paints and outlines.

use paligemma_processor::Detection;

use crate::scene::SIDE;

/// A colour that a thing can have. Any two are well apart in RGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Colour {
    /// A clear red.
    Red,
    /// A middle green.
    Green,
    /// A clear blue.
    Blue,
    /// A warm yellow.
    Yellow,
    /// Halfway between red and yellow.
    Orange,
    /// A dark violet.
    Purple,
    /// Nearly black.
    Black,
    /// Nearly white.
    White,
}

impl Colour {
    /// Every colour, in the order of the class numbers.
    pub const ALL: [Self; 8] = [
        Self::Red,
        Self::Green,
        Self::Blue,
        Self::Yellow,
        Self::Orange,
        Self::Purple,
        Self::Black,
        Self::White,
    ];

    /// The word for the colour in prompts and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Green => "green",
            Self::Blue => "blue",
            Self::Yellow => "yellow",
            Self::Orange => "orange",
            Self::Purple => "purple",
            Self::Black => "black",
            Self::White => "white",
        }
    }

    /// The paint, 8 bits a channel, around which each thing's own paint varies a little.
    pub fn rgb(self) -> [u8; 3] {
        match self {
            Self::Red => [216, 36, 40],
            Self::Green => [40, 158, 64],
            Self::Blue => [44, 84, 220],
            Self::Yellow => [246, 222, 44],
            Self::Orange => [246, 138, 28],
            Self::Purple => [136, 52, 176],
            Self::Black => [20, 20, 22],
            Self::White => [247, 247, 247],
        }
    }
}

/// A kind of shape. Each fills its box from side to side and from top to bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// A disc.
    Circle,
    /// A square with upright sides.
    Square,
    /// A triangle standing on its base.
    Triangle,
    /// A star of five points, one of them up.
    Star,
    /// An upright cross with arms of equal length.
    Cross,
}

impl Shape {
    /// Every shape, in the order of the class numbers.
    pub const ALL: [Self; 5] =
        [Self::Circle, Self::Square, Self::Triangle, Self::Star, Self::Cross];

    /// The word for one such shape.
    pub fn name(self) -> &'static str {
        match self {
            Self::Circle => "circle",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Star => "star",
            Self::Cross => "cross",
        }
    }

    /// The word for several such shapes.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Circle => "circles",
            Self::Square => "squares",
            Self::Triangle => "triangles",
            Self::Star => "stars",
            Self::Cross => "crosses",
        }
    }

    /// The corners in the unit square, y downwards, reaching all four of its sides; `None` for the
    /// circle, which has none.
    pub fn corners(self) -> Option<Vec<[f32; 2]>> {
        match self {
            Self::Circle => None,
            Self::Square => Some(vec![[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]),
            Self::Triangle => Some(vec![[0.5, 0.0], [1.0, 1.0], [0.0, 1.0]]),
            Self::Star => Some(star()),
            Self::Cross => Some(cross()),
        }
    }
}

/// How much shorter the inner corners of a star lie from its middle than its points.
const STAR_WAIST: f32 = 0.45;

/// A five-pointed star, stretched to the unit square.
fn star() -> Vec<[f32; 2]> {
    let turn = |step: usize| std::f32::consts::PI * step as f32 / 5.0;
    let (half_width, below) = (turn(2).sin(), turn(1).cos());
    (0..10)
        .map(|step| {
            let radius = if step % 2 == 0 { 1.0 } else { STAR_WAIST };
            let (sin, cos) = turn(step).sin_cos();
            [f32::midpoint(radius * sin / half_width, 1.0), (1.0 - radius * cos) / (1.0 + below)]
        })
        .collect()
}

/// Half the width of a cross's arm, in the unit square.
const CROSS_ARM: f32 = 0.17;

fn cross() -> Vec<[f32; 2]> {
    let (near, far) = (0.5 - CROSS_ARM, 0.5 + CROSS_ARM);
    vec![
        [near, 0.0],
        [far, 0.0],
        [far, near],
        [1.0, near],
        [1.0, far],
        [far, far],
        [far, 1.0],
        [near, 1.0],
        [near, far],
        [0.0, far],
        [0.0, near],
        [near, near],
    ]
}

/// One of two clearly different ranges of side length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Size {
    /// 15 to 22 pixels.
    Small,
    /// 30 to 40 pixels.
    Large,
}

impl Size {
    /// The word for the size.
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
        }
    }

    /// The range of the sides of a thing's box, in pixels.
    pub fn sides(self) -> std::ops::RangeInclusive<f32> {
        match self {
            Self::Small => 15.0..=22.0,
            Self::Large => 30.0..=40.0,
        }
    }
}

/// A coloured shape in a scene.
#[derive(Clone, Debug, PartialEq)]
pub struct Thing {
    /// Its named colour.
    pub colour: Colour,
    /// Its named shape.
    pub shape: Shape,
    /// Its named size.
    pub size: Size,
    /// Its exact extent `[x0, y0, x1, y1]` in pixels from the upper left corner of the picture.
    pub box_: [f32; 4],
    /// Its own paint, 8 bits a channel, near [`Colour::rgb`].
    pub paint: [u8; 3],
}

impl Thing {
    /// The label that names it in `detect`: `red circle`. Unique in a scene.
    pub fn label(&self) -> String {
        label(self.colour, self.shape)
    }

    /// The middle `[x, y]` of its box, in pixels.
    pub fn centre(&self) -> [f32; 2] {
        let [x0, y0, x1, y1] = self.box_;
        [f32::midpoint(x0, x1), f32::midpoint(y0, y1)]
    }

    /// Its label and box as a perfect model would give them, but for the rounding.
    pub fn detection(&self) -> Detection {
        let [x0, y0, x1, y1] = self.box_.map(|pixels| pixels / SIDE as f32);
        Detection { label: self.label(), x0, y0, x1, y1, codes: None }
    }

    /// Its class number: 1 to 40, by shape and then colour; 0 is left to the ground.
    pub fn class(&self) -> u8 {
        1 + self.shape as u8 * Colour::ALL.len() as u8 + self.colour as u8
    }
}

/// The label of things of one colour and shape: `red circle`.
pub fn label(colour: Colour, shape: Shape) -> String {
    format!("{} {}", colour.name(), shape.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outline_reaches_all_four_sides_of_its_box() {
        for corners in Shape::ALL.into_iter().filter_map(Shape::corners) {
            for axis in 0..2 {
                let reach = |fold: fn(f32, f32) -> f32, start| {
                    corners.iter().map(|corner| corner[axis]).fold(start, fold)
                };
                assert!(reach(f32::min, 1.0).abs() < 1e-6);
                assert!((reach(f32::max, 0.0) - 1.0).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn class_numbers_are_1_to_40() {
        let mut classes: Vec<u8> = Shape::ALL
            .into_iter()
            .flat_map(|shape| Colour::ALL.map(|colour| (shape, colour)))
            .map(|(shape, colour)| {
                let (size, box_, paint) = (Size::Small, [0.0; 4], [0; 3]);
                Thing { colour, shape, size, box_, paint }.class()
            })
            .collect();
        classes.sort_unstable();
        assert_eq!(classes, (1..=40).collect::<Vec<u8>>());
    }
}
