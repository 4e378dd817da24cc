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

/// The widest vectors, narrower ones where this machine has them, and none.
fn vectors() -> Vec<Arch> {
    let mut all = vec![Arch::new(), Arch::Scalar];
    #[cfg(target_arch = "x86_64")]
    all.extend(pulp::x86::V3::try_new().map(Arch::V3));
    all
}

proptest! {
    #[test]
    fn few_rows_are_sums_with_any_vectors(
        [m, k, n] in [1_usize..16, 1_usize..70, 1_usize..80],
        add in any::<bool>(),
    ) {
        let (left, right) = (numbers(m * k), numbers(k * n));
        let (a, b) = (Matrix::rows(&left, k), Matrix::rows(&right, n));
        prop_assert!(in_place(m, a, b, add));
        for arch in vectors() {
            let mut made = vec![if add { 1.0 } else { f32::NAN }; m * (n + 3)];
            let target = Target { start: made.as_mut_ptr(), row: n + 3 };
            arch.dispatch(weighted::Work { size: [m, k, n], a, b, target, add });
            for (row, made) in made.chunks(n + 3).enumerate() {
                let (made, behind) = made.split_at(n);
                prop_assert!(behind.iter().all(|value| value.is_nan() != add));
                for (column, &made) in made.iter().enumerate() {
                    let sum: f64 = (0..k).map(|p| value(a, row, p) * value(b, p, column)).sum();
                    prop_assert!((f64::from(made) - sum - f64::from(add)).abs() < 1e-4);
                }
            }
        }
    }
}

#[test]
fn a_product_of_no_depth_is_zeros() {
    for m in [1, 8, 40] {
        let mut made = vec![f32::NAN; m * 3];
        let target = Target { start: made.as_mut_ptr(), row: 3 };
        let (a, b) = (Matrix::rows(&[], 1), Matrix::rows(&[], 3));
        // SAFETY: the target is a vector of that size.
        unsafe { multiply([m, 0, 3], a, b, target, false) };
        assert_eq!(made, vec![0.0; m * 3]);
    }
}

#[test]
#[should_panic(expected = "beyond its slice")]
fn a_matrix_must_lie_in_its_slice() {
    let values = numbers(11);
    product([3, 4, 1], Matrix::rows(&values, 4), Matrix::rows(&values, 1), None);
}
