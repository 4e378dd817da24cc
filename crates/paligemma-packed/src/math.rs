//! Elementwise functions without branches, so that loops over them become vector code.
//!
//! They are inlined wherever they are called: vector instructions are those of the caller.

use crate::layout::LANES;

/// Exponents below which a term counts as nothing beside 1: `e^-40` is a ten-billionth of the last
/// place of a sum. Left in, masked probabilities and closed gates would be subnormal numbers, or
/// soon make some, which cost a hundred times the time of others in every product they enter.
pub const NEGLIGIBLE: f32 = -40.0;

/// What a masked score becomes: finite, so that a row with nothing to attend to stays finite
/// (big_vision `models/ppp/gemma.py`, `big_neg`).
pub const MASKED_SCORE: f32 = -2.381_976_4e38;

/// `sqrt(2 / pi)`, of the tanh form of GELU.
pub const GELU_SCALE: f64 = 0.797_884_560_802_865_4;
/// The weight of the cube in the tanh form of GELU.
pub const GELU_CUBIC: f64 = 0.044_715;

/// `e^x` within 2 units in the last place from -87.3 to 88.3; below and above, its value there, the
/// smallest number that is not subnormal and 2.4e38.
///
/// Cody-Waite reduction to `|r| <= ln 2 / 2` and a polynomial of degree 6.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.336_54, 88.376_26);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let p = 1.987_569_1e-4_f32;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let y = p * r * r + r + 1.0;
    // The lowest bits of `rounded` are those of the integer; the shift drops all others.
    y * f32::from_bits(rounded.to_bits().wrapping_add(127) << 23)
}

/// `e^x`, or 0 where that is negligible.
#[inline(always)]
pub fn exp_or_zero(x: f32) -> f32 {
    if x < NEGLIGIBLE { 0.0 } else { exp(x) }
}

/// `0.5 (1 + tanh(u)) = 1 / (1 + e^-2u)`, the factor of `x` in GELU, where
/// `u = sqrt(2 / pi) (x + 0.044715 x^3)`. Where it is negligible it is nothing, as it is where
/// `tanh` is rounded to -1.
#[inline(always)]
pub fn gelu_gate(x: f32) -> f32 {
    let twice = 2.0 * GELU_SCALE as f32 * x * (1.0 + GELU_CUBIC as f32 * x * x);
    if twice < NEGLIGIBLE { 0.0 } else { 1.0 / (1.0 + exp(-twice)) }
}

/// `x` times [`gelu_gate`]: GELU in its tanh form.
#[inline(always)]
pub fn tanh_gelu(x: f32) -> f32 {
    x * gelu_gate(x)
}

/// `tanh(x)` within 5 units in the last place: the quotient of exponentials, which near 0 would
/// lose digits, and there its series.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let square = x * x;
    let series = 62.0 / 2835.0;
    let series = series * square - 17.0 / 315.0;
    let series = series * square + 2.0 / 15.0;
    let series = series * square - 1.0 / 3.0;
    let near = x + x * square * series;
    let far = 1.0 - 2.0 / (1.0 + exp(2.0 * x));
    if x.abs() < 0.25 { near } else { far }
}

/// The highest of some values; of none, or where all are not numbers, negative infinity.
pub fn maximum(values: &[f32]) -> f32 {
    let (some, rest) = values.as_chunks::<LANES>();
    let mut tops = [f32::NEG_INFINITY; LANES];
    vectorised(
        #[inline(always)]
        || {
            for some in some {
                for (top, &value) in tops.iter_mut().zip(some) {
                    *top = if value > *top { value } else { *top };
                }
            }
        },
    );
    tops.iter().chain(rest).fold(f32::NEG_INFINITY, |top, value| top.max(*value))
}

/// `ln sum(e^x)`, of terms that are within 2 units in the last place of f32, summed in f64.
pub fn log_sum_exp(values: &[f32]) -> f64 {
    let top = maximum(values);
    let (some, rest) = values.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    vectorised(
        #[inline(always)]
        || {
            for some in some {
                for (sum, &value) in sums.iter_mut().zip(some) {
                    *sum += f64::from(exp_or_zero(value - top));
                }
            }
        },
    );
    let rest = rest.iter().map(|value| f64::from(exp_or_zero(value - top)));
    f64::from(top) + sums.into_iter().chain(rest).sum::<f64>().ln()
}

/// Runs `work` with the widest vector instructions of this machine, if it and all that it calls
/// are inlined: closures too must say so.
#[inline(always)]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_of_the_last_place() {
        for step in -870..880 {
            let x = step as f32 * 0.1;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.4e-7, "exp({x}) is off by {error:e}");
        }
        assert!((exp(0.0) - 1.0).abs() < f32::EPSILON);
        assert!(exp(f32::NEG_INFINITY) < 1.2e-38);
    }

    #[test]
    fn the_logarithm_of_a_sum_is_that_of_f64() {
        for count in [1, 15, 16, 17, 1000] {
            let values: Vec<f32> = (0..count).map(|i| ((i * i) % 97) as f32 - 60.0).collect();
            let exact = values.iter().map(|&x| f64::from(x).exp()).sum::<f64>().ln();
            assert!((log_sum_exp(&values) - exact).abs() < 3e-7, "{count}");
            let top = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(maximum(&values).to_bits(), top.to_bits());
        }
    }

    #[test]
    fn tanh_is_near_over_its_whole_range() {
        for step in -2000..2000 {
            let x = step as f32 * 0.01;
            let exact = f64::from(x).tanh();
            let error = (f64::from(tanh(x)) - exact).abs();
            assert!(error <= 6e-7 * exact.abs(), "tanh({x}) is off by {error:e}");
        }
        for (x, limit) in [(f32::MAX, 1.0), (f32::MIN, -1.0), (0.0, 0.0)] {
            assert_eq!(tanh(x).to_bits(), f32::to_bits(limit));
        }
    }

    #[test]
    fn the_gate_is_half_of_one_plus_tanh() {
        for step in -100..100 {
            let x = f64::from(step) * 0.1;
            let exact = 0.5 * (1.0 + (GELU_SCALE * (x + GELU_CUBIC * x * x * x)).tanh());
            let error = (f64::from(gelu_gate(x as f32)) - exact).abs();
            assert!(error < 3e-7, "the gate at {x} is off by {error:e}");
        }
    }
}
