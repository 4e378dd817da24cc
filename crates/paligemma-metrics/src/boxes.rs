//! Boxes: where they are, and how far two agree.

/// A box as COCO writes it, in pixels or in any other unit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width, which is not negative.
    pub width: f64,
    /// Height, which is not negative.
    pub height: f64,
}

impl Rect {
    /// The box between edges; one whose edges are the wrong way round is empty.
    pub fn from_edges([x0, y0, x1, y1]: [f64; 4]) -> Self {
        Self { x: x0, y: y0, width: (x1 - x0).max(0.0), height: (y1 - y0).max(0.0) }
    }

    /// Width times height.
    pub fn area(&self) -> f64 {
        self.width * self.height
    }

    /// The area that two boxes share.
    pub fn shared(&self, other: &Self) -> f64 {
        let side = |a: f64, length_a: f64, b: f64, length_b: f64| {
            ((a + length_a).min(b + length_b) - a.max(b)).max(0.0)
        };
        side(self.x, self.width, other.x, other.width)
            * side(self.y, self.height, other.y, other.height)
    }

    /// The area shared by the area covered together, 0..=1; 0 for boxes without area.
    pub fn iou(&self, other: &Self) -> f64 {
        let shared = self.shared(other);
        if shared > 0.0 { shared / (self.area() + other.area() - shared) } else { 0.0 }
    }
}
