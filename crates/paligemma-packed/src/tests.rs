//! Every format on every instruction set against sums in f64.

use proptest::prelude::*;

use crate::math::gelu_gate;
use crate::{Activation, Isa, PackError, PackedFormat, PackedLayout, Rows, Scoring, TileKeys};

const FORMATS: [PackedFormat; 3] = [PackedFormat::Bf16, PackedFormat::Int8, PackedFormat::Int4];

/// Numbers in -1..1 that only depend on the seed.
pub(crate) fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

struct Case {
    layout: PackedLayout,
    weight: Vec<f32>,
    x: Vec<f32>,
    bias: Vec<f32>,
}

impl Case {
    fn new(format: PackedFormat, [rows, outputs, inputs]: [usize; 3]) -> Self {
        let layout = PackedLayout { format, outputs, inputs };
        let seed = (rows * 31 + outputs * 7 + inputs) as u64;
        Self {
            layout,
            weight: noise(seed, outputs * inputs),
            x: noise(seed + 1, rows * inputs),
            bias: noise(seed + 2, outputs),
        }
    }

    fn pack(&self) -> crate::PackedBuffer {
        let inputs = self.layout.inputs;
        self.layout
            .pack(|row, out| out.copy_from_slice(&self.weight[row * inputs..][..inputs]))
            .unwrap()
    }

    /// The product of the activations with the weights as `packed` holds them, in f64.
    fn expected(&self, packed: &[u8]) -> Vec<f64> {
        let PackedLayout { outputs, inputs, .. } = self.layout;
        let mut weights = vec![0.0; inputs];
        let rows = self.x.len() / inputs;
        let mut out = vec![0.0; rows * outputs];
        for output in 0..outputs {
            self.layout.row(packed, output, &mut weights);
            for row in 0..rows {
                let x = &self.x[row * inputs..][..inputs];
                let dot: f64 =
                    x.iter().zip(&weights).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                out[row * outputs + output] = dot + f64::from(self.bias[output]);
            }
        }
        out
    }
}

/// Largest error of a product relative to the length of its two vectors: what rounding the
/// activations alone may cost.
fn tolerance(format: PackedFormat, isa: Isa, [rows, _, inputs]: [usize; 3]) -> f64 {
    let many = match format {
        PackedFormat::Bf16 => isa >= Isa::Avx512Bf16,
        PackedFormat::Int8 | PackedFormat::Int4 => isa == Isa::Amx,
    };
    match (format, many && rows > 8) {
        // As many roundings of an f32 sum, at random.
        (PackedFormat::Bf16, false) => 2.0_f64.powi(-23) * (inputs as f64).sqrt(),
        // Half a unit in the eighth bit, of every activation, errors at random.
        (PackedFormat::Bf16, true) => 4e-3,
        // The same, and of every weight, whose level times scale does not fit bfloat16.
        (PackedFormat::Int4, true) => 6e-3,
        // Half a 127th of the largest activation.
        (PackedFormat::Int8, _) | (PackedFormat::Int4, false) => 1e-2,
    }
}

#[test]
fn products_equal_the_reference_on_every_instruction_set() {
    let shapes =
        [[1, 16, 64], [1, 48, 100], [3, 33, 7], [8, 130, 256], [9, 40, 588], [33, 50, 4304]];
    for shape in shapes.into_iter().chain([[64, 272, 1152], [300, 20, 2100]]) {
        for format in FORMATS {
            let case = Case::new(format, shape);
            let packed = case.pack();
            let expected = case.expected(packed.as_ref());
            // Of two vectors of numbers spread evenly over -1..1, multiplied.
            let length = shape[2] as f64 / 3.0;
            for isa in Isa::all() {
                let out = case.layout.linear_with(
                    isa,
                    packed.as_ref(),
                    &case.x,
                    Some(&case.bias),
                    Activation::Identity,
                );
                assert_eq!(out.len(), expected.len());
                let error = out
                    .iter()
                    .zip(&expected)
                    .map(|(a, b)| (f64::from(*a) - b).abs() / length.sqrt())
                    .fold(
                        0.0,
                        |worst: f64, error| {
                            if error > worst || error.is_nan() { error } else { worst }
                        },
                    );
                assert!(
                    error <= tolerance(format, isa, shape),
                    "{format} {shape:?} on {isa}: {error:e}"
                );
            }
        }
    }
}

#[test]
fn gradients_equal_the_reference() {
    let shapes = [[1, 16, 64], [3, 33, 7], [2, 530, 190], [9, 40, 588], [33, 1100, 300]];
    for (format, [rows, outputs, inputs]) in
        FORMATS.into_iter().flat_map(|format| shapes.map(|shape| (format, shape)))
    {
        let case = Case::new(format, [rows, outputs, inputs]);
        let packed = case.pack();
        let grad = noise(5, rows * outputs);
        let out = case.layout.linear_backward(packed.as_ref(), &grad);
        let mut expected = vec![0.0; rows * inputs];
        let mut weights = vec![0.0; inputs];
        for output in 0..outputs {
            case.layout.row(packed.as_ref(), output, &mut weights);
            for (row, sums) in expected.chunks_exact_mut(inputs).enumerate() {
                let factor = f64::from(grad[row * outputs + output]);
                for (sum, weight) in sums.iter_mut().zip(&weights) {
                    *sum += factor * f64::from(*weight);
                }
            }
        }
        assert_eq!(out.len(), expected.len());
        // As many roundings of an f32 sum of numbers below 1, at random.
        let tolerance = 2.0_f64.powi(-22) * outputs as f64;
        for (at, (value, expected)) in out.iter().zip(&expected).enumerate() {
            let error = (f64::from(*value) - expected).abs();
            assert!(error <= tolerance, "{format} {rows} {outputs} {inputs}, {at}: {error:e}");
        }
    }
}

#[test]
fn what_is_not_finite_stays_so_in_its_row_and_touches_no_other() {
    for format in FORMATS {
        for rows in [2, 9, 40] {
            let case = Case::new(format, [rows, 50, 200]);
            let packed = case.pack();
            for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut x = case.x.clone();
                x[200 + 77] = bad;
                for isa in Isa::all() {
                    let run = |x: &[f32]| {
                        case.layout.linear_with(isa, packed.as_ref(), x, None, Activation::Identity)
                    };
                    let (clean, out) = (run(&case.x), run(&x));
                    assert!(out[50..100].iter().all(|value| !value.is_finite()), "{format} {isa}");
                    assert_eq!((&out[..50], &out[100..]), (&clean[..50], &clean[100..]));
                }
            }
        }
    }
}

#[test]
fn groups_of_tiny_weights_become_nothing_in_4_bits() {
    let layout = PackedLayout { format: PackedFormat::Int4, outputs: 1, inputs: 32 };
    for size in [1e-4, 1e-6, 2e-7, 1e-8] {
        let packed = layout.pack(|_, out| out.fill(size)).unwrap();
        let mut row = [0.0; 32];
        layout.row(packed.as_ref(), 0, &mut row);
        // Half a step of 16 levels, or what f16 cannot tell from nothing.
        let most = (size / 14.0).max(2.5e-7);
        assert!(row.iter().all(|value| (value - size).abs() <= most), "{size}: {row:?}");
    }
}

#[test]
fn instruction_sets_agree_on_few_rows() {
    for format in FORMATS {
        let case = Case::new(format, [5, 70, 900]);
        let packed = case.pack();
        let run = |isa| {
            case.layout.linear_with(isa, packed.as_ref(), &case.x, None, Activation::Identity)
        };
        let plain = run(Isa::Plain);
        for isa in Isa::all() {
            for (a, b) in run(isa).iter().zip(&plain) {
                assert!((a - b).abs() <= 1e-4, "{format} on {isa}: {a} {b}");
            }
        }
    }
}

#[test]
fn rows_of_8_bits_are_the_same_by_every_vector() {
    // An odd number of panels, and rows that do not fill the last pass over them.
    for rows in [8, 9, 33] {
        let case = Case::new(PackedFormat::Int8, [rows, 70, 900]);
        let packed = case.pack();
        let run = |isa| {
            case.layout.linear_with(isa, packed.as_ref(), &case.x, None, Activation::Identity)
        };
        let plain = run(Isa::Plain);
        // Sums are integers, so nothing is lost on the way.
        for isa in Isa::all().into_iter().filter(|&isa| isa < Isa::Amx) {
            assert_eq!(run(isa), plain, "{rows} rows on {isa}");
        }
    }
}

#[test]
fn rows_come_back_as_near_as_the_format_holds_them() {
    for format in FORMATS {
        let case = Case::new(format, [1, 37, 200]);
        let packed = case.pack();
        let mut row = vec![0.0; 200];
        for output in 0..37 {
            case.layout.row(packed.as_ref(), output, &mut row);
            let weights = &case.weight[output * 200..][..200];
            let misses = row.iter().zip(weights).map(|(a, b)| (a - b).abs());
            if format == PackedFormat::Int4 {
                // Fifteen steps from -1 to 1, the error anywhere within one; the largest weights
                // may be cut off where that serves the others.
                let mean = misses.map(|miss| miss * miss).sum::<f32>() / 200.0;
                assert!(mean.sqrt() <= 2.0 / 15.0 / 12.0_f32.sqrt(), "{mean}");
            } else {
                let most = if format == PackedFormat::Bf16 { 0.5 / 128.0 } else { 0.5 / 127.0 };
                assert!(misses.fold(0.0, f32::max) <= most * 1.001, "{format}");
            }
        }
    }
}

#[test]
fn a_row_is_the_same_alone_and_in_a_batch_of_few() {
    for format in FORMATS {
        let case = Case::new(format, [8, 100, 320]);
        let packed = case.pack();
        let batch = case.layout.linear(packed.as_ref(), &case.x, None, Activation::Identity);
        for row in 0..8 {
            let alone = case.layout.linear(
                packed.as_ref(),
                &case.x[row * 320..][..320],
                None,
                Activation::Identity,
            );
            assert_eq!(alone, batch[row * 100..][..100], "{format} row {row}");
        }
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    for format in FORMATS {
        for rows in [1, 8, 40] {
            let case = Case::new(format, [rows, 1000, 512]);
            let packed = case.pack();
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    case.layout.linear(packed.as_ref(), &case.x, None, Activation::Identity)
                })
            };
            assert_eq!(run(1), run(5), "{format}, {rows} rows");
        }
    }
}

#[test]
fn weights_that_a_format_cannot_hold_are_refused() {
    for format in FORMATS {
        let layout = PackedLayout { format, outputs: 20, inputs: 3 };
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error =
                layout.pack(|row, out| out.fill(if row == 17 { bad } else { 0.5 })).unwrap_err();
            assert!(matches!(error, PackError::Value { row: 17, column: 0, .. }), "{error}");
        }
    }
    let layout = PackedLayout { format: PackedFormat::Int4, outputs: 1, inputs: 1 };
    assert!(layout.pack(|_, out| out.fill(1e6)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_shape_packs_to_its_bytes(outputs in 0..70_usize, inputs in 1..200_usize, format in 0..3_usize) {
        let layout = PackedLayout { format: FORMATS[format], outputs, inputs };
        let packed = layout.pack(|row, out| out.fill(row as f32)).unwrap();
        prop_assert_eq!(layout.bytes() % 64, 0);
        let mut row = vec![0.0; inputs];
        for output in 0..outputs {
            layout.row(packed.as_ref(), output, &mut row);
            prop_assert!(row.iter().all(|value| (value - output as f32).abs() <= 0.01 * output as f32));
        }
    }
}

#[test]
fn an_activation_is_that_of_the_plain_results() {
    for shape in [[3, 40, 70], [40, 40, 70]] {
        for format in FORMATS {
            let case = Case::new(format, shape);
            let packed = case.pack();
            for isa in Isa::all() {
                let run = |activation| {
                    let bias = Some(case.bias.as_slice());
                    case.layout.linear_with(isa, packed.as_ref(), &case.x, bias, activation)
                };
                let plain = run(Activation::Identity);
                for (gelu, plain) in run(Activation::TanhGelu).into_iter().zip(plain) {
                    let expected = plain * gelu_gate(plain);
                    // The same formula in other instructions.
                    assert!((gelu - expected).abs() <= 4e-7 * expected.abs().max(1.0));
                }
            }
        }
    }
}

/// Attention in f64, of a row to all keys.
fn attend(
    query: &[f32],
    [key, value]: [&[f32]; 2],
    masked: Option<&[u8]>,
    scoring: Scoring,
) -> Vec<f64> {
    let width = query.len();
    let dot = |key: &[f32]| -> f64 {
        query.iter().zip(key).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let score = |(i, key): (usize, &[f32])| match masked {
        Some(masked) if masked[i] != 0 => f64::from(f32::MIN / 2.0),
        _ => {
            let score = dot(key) * f64::from(scoring.scale);
            let bent = |cap| f64::from(cap) * (score / f64::from(cap)).tanh();
            scoring.softcap.map_or(score, bent)
        }
    };
    let scores: Vec<f64> = key.chunks_exact(width).enumerate().map(score).collect();
    let highest = scores.iter().copied().fold(f64::MIN, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut out = vec![0.0; width];
    for (weight, value) in weights.iter().zip(value.chunks_exact(width)) {
        out.iter_mut().zip(value).for_each(|(out, v)| *out += weight / total * f64::from(*v));
    }
    out
}

#[test]
fn attention_on_tiles_is_that_of_sums_in_f64() {
    for (case, [queries, count, width]) in
        [[9, 9, 8], [33, 16, 72], [64, 77, 40], [40, 256, 72], [31, 270, 256]].iter().enumerate()
    {
        let noise = |seed, rows: usize| noise(seed + 10 * case as u64, rows * width);
        let (query, key, value) = (noise(1, *queries), noise(2, *count), noise(3, *count));
        // Every query attends to some keys, except the second, which attends to none.
        let masks = (0..queries * count)
            .map(|i| u8::from(i / count == 1 || (i * 7919 / 13).is_multiple_of(3)))
            .collect::<Vec<_>>();
        let rows = |values, count| Rows { values, stride: *width, count };
        let keys = TileKeys::new(rows(&key, *count), rows(&value, *count), *width, *queries);
        let Some(keys) = keys else {
            assert!(Isa::best() < Isa::Amx, "a machine with tiles uses them");
            return;
        };
        let scorings = [None, Some(0.5)].map(|softcap| Scoring { scale: 0.25, softcap });
        let masks = [None, Some(masks.as_slice())];
        for (masked, scoring) in masks.into_iter().flat_map(|m| scorings.map(|s| (m, s))) {
            let mut seen = 0;
            keys.attend(rows(&query, *queries), masked, scoring, |row, out| {
                let query = &query[row * width..][..*width];
                let masked = masked.map(|masked| &masked[row * count..][..*count]);
                let expected = attend(query, [&key, &value], masked, scoring);
                for (out, expected) in out.iter().zip(&expected) {
                    // Values below 1, weights and values rounded to eight bits: half a unit each.
                    let error = (f64::from(*out) - expected).abs();
                    assert!(error < 4e-3, "query {row} of {queries} is off by {error}");
                }
                assert_eq!((row, out.len()), (seen, *width));
                seen += 1;
            });
            assert_eq!(seen, *queries);
        }
    }
}
