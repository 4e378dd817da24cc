//! The scale and the levels of a group of 4-bit weights.

use half::f16;

use crate::activations::ROUNDER;
use crate::layout::GROUP;

/// What a weight is multiplied with for its level; zero of a scale of zero.
#[inline(always)]
pub(crate) fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { scale.recip() }
}

/// The level, 0 to 15, that stands for `value`, in the lowest bits.
#[inline(always)]
pub(crate) fn level(value: f32, inverse: f32) -> f32 {
    (value * inverse + 8.0).clamp(0.0, 15.0) + ROUNDER
}

/// The largest weight of a group divided by the scales that are tried. 16 levels are not symmetric,
/// so that weight may take either end, and a smaller scale that cuts it off may serve the others
/// better. With 7 no weight is cut off.
const MOST_IN_LEVELS: [f32; 9] = [-8.2, -7.4, -7.8, -8.6, -9.0, -9.5, -10.0, 7.0, 7.4];

/// The scale, as f16 holds it, with the least squared error of [`MOST_IN_LEVELS`] and of one more:
/// that with which the levels of the best of them fit the weights best, `sum(w q) / sum(q^2)`.
#[inline(always)]
pub(crate) fn scale_of(values: &[f32; GROUP]) -> f32 {
    let (mut low, mut high) = ([0.0_f32; 8], [0.0_f32; 8]);
    for values in values.as_chunks::<8>().0 {
        for ((low, high), &value) in low.iter_mut().zip(&mut high).zip(values) {
            *low = low.min(value);
            *high = high.max(value);
        }
    }
    let low = low.into_iter().fold(0.0, f32::min);
    let high = high.into_iter().fold(0.0, f32::max);
    let most = if high > -low { high } else { low };
    let mut best = (f32::INFINITY, 0.0);
    let mut meet = |scale: f32| {
        let scale = f16::from_f32(scale).to_f32();
        let error = squared_error(values, scale);
        if error < best.0 {
            best = (error, scale);
        }
        best.1
    };
    let mut chosen = 0.0;
    for levels in MOST_IN_LEVELS {
        chosen = meet(most / levels);
    }
    meet(fit(values, chosen))
}

/// Levels and the weights that they stand for, eight at a time.
#[inline(always)]
fn levels(values: &[f32; GROUP], scale: f32) -> impl Iterator<Item = ([f32; 8], [f32; 8])> {
    let inverse = inverse(scale);
    let of = move |value| level(value, inverse) - ROUNDER - 8.0;
    values.as_chunks::<8>().0.iter().map(move |values| (values.map(of), *values))
}

/// The squared error of a group's weights with a scale.
#[inline(always)]
fn squared_error(values: &[f32; GROUP], scale: f32) -> f32 {
    let mut errors = [0.0; 8];
    for (levels, values) in levels(values, scale) {
        for ((error, level), value) in errors.iter_mut().zip(levels).zip(values) {
            let miss = level * scale - value;
            *error += miss * miss;
        }
    }
    errors.iter().sum()
}

/// The scale that fits the levels of another one best; that one where all levels are zero.
#[inline(always)]
fn fit(values: &[f32; GROUP], scale: f32) -> f32 {
    let (mut products, mut squares) = ([0.0; 8], [0.0; 8]);
    for (levels, values) in levels(values, scale) {
        for (((product, square), level), value) in
            products.iter_mut().zip(&mut squares).zip(levels).zip(values)
        {
            *product += level * value;
            *square += level * level;
        }
    }
    let squares: f32 = squares.iter().sum();
    if squares > 0.0 { products.iter().sum::<f32>() / squares } else { scale }
}

#[cfg(test)]
mod tests {
    use half::f16;
    use proptest::prelude::*;

    use crate::layout::GROUP;
    use crate::tests::noise;
    use crate::{PackedFormat, PackedLayout};

    /// The squared error, in f64, of a group with a scale that f16 holds.
    fn reference(group: &[f32], scale: f32) -> f64 {
        let scale = f64::from(f16::from_f32(scale));
        let level = |value: f64| {
            if scale == 0.0 { 0.0 } else { (value / scale).round_ties_even().clamp(-8.0, 7.0) }
        };
        group.iter().map(|&value| (level(value.into()) * scale - f64::from(value)).powi(2)).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// No group loses more than with a scale by its largest weight alone, and all together lose
        /// little more than with the best of all scales between a half and twice that. Of a single
        /// group that would be untrue: one in some thousands loses a fourth more.
        #[test]
        fn scales_of_4_bits_lose_no_more_than_the_largest_weights_and_little_more_than_the_best(
            seed in any::<u64>(), power in 1..5_i32, size in -12..12_i32,
        ) {
            // From numbers spread evenly to a few that outweigh the others.
            let bent = |value: f32| value.abs().powi(power).copysign(value) * 2.0_f32.powi(size / 2);
            let weights: Vec<f32> = noise(seed, 128 * GROUP).into_iter().map(bent).collect();
            let format = PackedFormat::Int4;
            let layout = PackedLayout { format, outputs: 1, inputs: weights.len() };
            let packed = layout.pack(|_, out| out.copy_from_slice(&weights)).unwrap();
            let mut row = vec![0.0; weights.len()];
            layout.row(packed.as_ref(), 0, &mut row);
            let (mut errors, mut bests) = (0.0, 0.0);
            for (group, row) in weights.chunks(GROUP).zip(row.chunks(GROUP)) {
                let error: f64 =
                    row.iter().zip(group).map(|(a, b)| f64::from(a - b).powi(2)).sum();
                let most = group.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                let rounding = 1e-5 * f64::from(most).powi(2);
                prop_assert!(error <= reference(group, most / 7.0) + rounding);
                errors += error;
                bests += (700..1400)
                    .flat_map(|step| [1.0, -1.0].map(|sign| sign * most / (step as f32 / 100.0)))
                    .map(|scale| reference(group, scale))
                    .fold(f64::INFINITY, f64::min);
            }
            prop_assert!(errors <= 1.05 * bests, "{errors:e} {bests:e}");
        }
    }
}
