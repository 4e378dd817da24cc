//! A tower's position table for pictures of another size.

/// How a position table is brought to another size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PositionFilter {
    /// Linear between positions, corners on corners, as the authors make checkpoints for larger
    /// pictures (big_vision `models/vit.py`, `resample_posemb`, which is
    /// `scipy.ndimage.zoom(order=1)`).
    #[default]
    Bilinear,
    /// Cubic (a = -0.75) on centres of patches, as transformers does while it computes
    /// (`interpolate_pos_encoding`, which is `torch.nn.functional.interpolate(mode="bicubic")`).
    Bicubic,
}

/// Resamples a square grid of positions, row by row, of `width` numbers each: `table` is
/// `[old * old, width]`, what comes back `[new * new, width]`.
///
/// # Panics
/// If the table has another number of positions.
pub fn resample_positions(
    table: &[f32],
    width: usize,
    [old, new]: [usize; 2],
    filter: PositionFilter,
) -> Vec<f32> {
    assert_eq!(table.len(), old * old * width, "a table of {old} x {old} positions");
    let taps: Vec<Vec<Tap>> = (0..new).map(|index| filter.taps(index, old, new)).collect();
    let mut out = Vec::with_capacity(new * new * width);
    for row in &taps {
        for column in &taps {
            out.extend((0..width).map(|at| {
                let weighted = |y: &Tap, x: &Tap| {
                    f64::from(table[(y.index * old + x.index) * width + at]) * (y.weight * x.weight)
                };
                let values = row.iter().flat_map(|y| column.iter().map(move |x| weighted(y, x)));
                values.sum::<f64>() as f32
            }));
        }
    }
    out
}

/// A position along a side, and its share in a new one.
struct Tap {
    index: usize,
    weight: f64,
}

impl PositionFilter {
    /// What new position `index` of `new` along a side is made of when there were `old`.
    fn taps(self, index: usize, old: usize, new: usize) -> Vec<Tap> {
        let (index, last) = (index as f64, old.saturating_sub(1));
        match self {
            Self::Bilinear => {
                let place = index * last as f64 / (new.saturating_sub(1)).max(1) as f64;
                let share = place.fract();
                clamped(place, &[(0, 1.0 - share), (1, share)], last)
            }
            Self::Bicubic => {
                let place = (index + 0.5) * old as f64 / new as f64 - 0.5;
                let share = place - place.floor();
                let near = |t: f64| ((A + 2.0) * t - (A + 3.0)) * t * t + 1.0;
                let far = |t: f64| ((A * t - 5.0 * A) * t + 8.0 * A) * t - 4.0 * A;
                let weights = [
                    (-1, far(share + 1.0)),
                    (0, near(share)),
                    (1, near(1.0 - share)),
                    (2, far(2.0 - share)),
                ];
                clamped(place, &weights, last)
            }
        }
    }
}

/// The constant of the cubic kernel (Keys 1981) that PyTorch takes.
const A: f64 = -0.75;

/// Taps around a place; those beyond an edge take the edge's position.
#[expect(clippy::cast_sign_loss, reason = "clamped to 0..=last before")]
fn clamped(place: f64, weights: &[(i64, f64)], last: usize) -> Vec<Tap> {
    let tap = |&(offset, weight): &(i64, f64)| Tap {
        index: (place.floor() as i64 + offset).clamp(0, last as i64) as usize,
        weight,
    };
    weights.iter().map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_size_changes_nothing() {
        let table: Vec<f32> = (0..18).map(|value| (value * value) as f32).collect();
        for filter in [PositionFilter::Bilinear, PositionFilter::Bicubic] {
            assert_eq!(resample_positions(&table, 2, [3, 3], filter), table);
        }
    }

    #[test]
    fn a_single_position_is_everywhere() {
        for filter in [PositionFilter::Bilinear, PositionFilter::Bicubic] {
            let all = resample_positions(&[0.5, -2.0], 2, [1, 3], filter);
            let expected = [0.5, -2.0].repeat(9);
            assert!(all.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{all:?}");
        }
        assert_eq!(
            resample_positions(&[3.0, 1.0, 1.0, 1.0], 1, [2, 1], PositionFilter::Bilinear),
            [3.0]
        );
    }
}
