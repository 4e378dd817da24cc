//! Products against sums in f64.
#![expect(unsafe_code, reason = "a target is a pointer")]

use super::*;
use proptest::prelude::*;

/// Numbers of both signs without a pattern.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0).collect()
}

/// A matrix of its own values, by rows or by columns.
fn matrix(values: &[f32], rows: usize, columns: usize, by_columns: bool) -> Matrix<'_> {
    if by_columns { Matrix::rows(values, rows).transposed() } else { Matrix::rows(values, columns) }
}

fn value(matrix: Matrix<'_>, row: usize, column: usize) -> f64 {
    f64::from(matrix.values[row * matrix.row + column * matrix.column])
}

proptest! {
    #[test]
    fn products_are_sums_of_products(
        [m, k, n] in [0_usize..40, 0_usize..300, 0_usize..150],
        orders in any::<[bool; 2]>(),
        repeated in any::<[bool; 2]>(),
        with_bias in any::<bool>(),
    ) {
        let (left, right, bias) = (numbers(m * k), numbers(k * n), numbers(n));
        let (mut a, mut b) = (matrix(&left, m, k, orders[0]), matrix(&right, k, n, orders[1]));
        // A row that is all rows: a tensor that was expanded.
        for matrix in [(&mut a, repeated[0]), (&mut b, repeated[1])] {
            if let (matrix, true) = matrix {
                matrix.row = 0;
            }
        }
        let made = product([m, k, n], a, b, with_bias.then_some(&bias));
        prop_assert_eq!(made.len(), m * n);
        let mut added = made.clone();
        let target = Target { start: added.as_mut_ptr(), row: n };
        // SAFETY: the target is a vector of that size.
        unsafe { multiply([m, k, n], a, b, target, true) };
        let mut alone = vec![f32::NAN; m * (n + 3)];
        let target = Target { start: alone.as_mut_ptr(), row: n + 3 };
        // SAFETY: the target is a vector of rows that are longer.
        unsafe { multiply([m, k, n], a, b, target, false) };
        for row in 0..m {
            prop_assert!(alone[row * (n + 3) + n..][..3].iter().all(|value| value.is_nan()));
            for column in 0..n {
                let alone = f64::from(alone[row * (n + 3) + column]);
                let sum: f64 =
                    (0..k).map(|p| value(a, row, p) * value(b, p, column)).sum();
                let begin = if with_bias { f64::from(bias[column]) } else { 0.0 };
                let (once, twice) = (made[row * n + column], added[row * n + column]);
                prop_assert!((f64::from(once) - begin - sum).abs() < 1e-4);
                prop_assert!((alone - sum).abs() < 1e-4);
                prop_assert!((f64::from(twice) - begin - 2.0 * sum).abs() < 2e-4);
            }
        }
    }
}

#[test]
#[should_panic(expected = "beyond its slice")]
fn a_matrix_must_lie_in_its_slice() {
    let values = numbers(11);
    product([3, 4, 1], Matrix::rows(&values, 4), Matrix::rows(&values, 1), None);
}
