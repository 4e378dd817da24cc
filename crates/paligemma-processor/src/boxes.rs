//! How much two boxes are one.

/// The area that two boxes `[x0, y0, x1, y1]` share, by the area that they cover together, 0..=1: 0
/// where neither covers anything.
pub fn iou(a: [f32; 4], b: [f32; 4]) -> f32 {
    let area = |[x0, y0, x1, y1]: [f32; 4]| (x1 - x0).max(0.0) * (y1 - y0).max(0.0);
    let shared = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let together = area(a) + area(b) - shared;
    if together > 0.0 { shared / together } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_shared_area_by_area_together() {
        let one = [0.0, 0.0, 4.0, 2.0];
        // 2 x 2 shared, 8 + 8 - 4 together.
        assert!((iou(one, [2.0, 0.0, 6.0, 2.0]) - 4.0 / 12.0).abs() < 1e-6);
        assert!((iou(one, one) - 1.0).abs() < 1e-6);
        // A corner in common, nothing in common, and no area at all.
        let point = [1.0, 1.0, 1.0, 1.0];
        for other in [[4.0, 2.0, 5.0, 3.0], [9.0, 9.0, 10.0, 10.0], point, [3.0, 1.0, 2.0, 0.0]] {
            assert!(iou(one, other).abs() < 1e-6, "{other:?}");
        }
        assert!(iou(point, point).abs() < 1e-6);
    }
}
