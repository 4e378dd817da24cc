//! How differences are judged and shown: the table itself, not what it is of.

use paligemma::{DeviceSpec, Dtype};
use paligemma_tests::conformance::{
    Case, Column, Count, Gap, Measured, Outcome, columns, guarded, table,
};
use paligemma_tests::reference::Tiny;

#[test]
fn what_is_not_finite_never_passes() {
    for bad in [f32::NAN, f32::INFINITY] {
        let measured = Measured::difference("x", &[0.0, bad, 0.0], &[0.0; 3], 1.0);
        assert!(!measured.passes() && measured.error == f32::INFINITY);
        // Not even where the reference is as bad.
        assert!(!Measured::difference("x", &[bad], &[bad], 1.0).passes());
    }
}

#[test]
fn the_largest_difference_counts() {
    let measured = Measured::difference("x", &[1.0, 2.0, 3.0], &[1.5, 2.0, 2.75], 0.5);
    assert!(measured.passes() && measured.error.to_bits() == 0.5_f32.to_bits());
    assert!(!Measured { tolerance: 0.4, ..measured }.passes());
    let differ = Measured::exact("ids", &[1, 2, 3], &[1, 0, 0]);
    assert!(!differ.passes() && differ.error.to_bits() == 2_f32.to_bits());
}

fn measured(error: f32) -> Outcome {
    Outcome::Measured(vec![
        Measured { what: "one".into(), error: 0.0, tolerance: 0.0 },
        Measured { what: "other".into(), error, tolerance: 1.0 },
    ])
}

const GAP: Gap = Gap {
    device: "cuda",
    dtype: Dtype::F32,
    case: "masks and positions",
    reason: "a driver's mistake",
};

#[test]
fn an_expected_failure_is_excused_and_an_unexpected_success_is_not() {
    assert_eq!(measured(2.0).expected(Some(&GAP)), Outcome::ExpectedFailure(GAP.reason));
    assert!(measured(0.5).expected(Some(&GAP)).fails());
    assert!(measured(0.5).expected(None).passes());
    assert!(measured(2.0).expected(None).fails());
    let skipped = Outcome::Skipped("no device".into());
    assert_eq!(skipped.clone().expected(Some(&GAP)), skipped);
}

#[test]
fn the_worst_is_what_uses_most_of_its_tolerance() {
    assert_eq!(measured(0.5).worst().map(|worst| &*worst.what), Some("other"));
    let wrong = Measured { what: "count".into(), error: 1.0, tolerance: 0.0 };
    let Outcome::Measured(mut all) = measured(0.5) else { unreachable!() };
    all.insert(0, wrong.clone());
    assert_eq!(Outcome::Measured(all).worst(), Some(&wrong));
}

#[test]
fn a_panic_is_a_failure_with_its_message() {
    let message = guarded(|| panic!("device {} is\nlost", 3)).unwrap_err();
    assert_eq!(message, "panicked: device 3 is lost");
}

#[test]
fn a_device_that_is_not_there_is_skipped_unless_it_is_required() {
    // No machine has this many.
    let device = DeviceSpec::Cuda(4096);
    let run = |required: &[DeviceSpec]| {
        let dtypes = [Dtype::F32];
        columns(Tiny::Gemma, &[Case::Layout], &[device], &dtypes, required, &[])
            .remove(0)
            .outcomes
            .remove(0)
    };
    assert!(matches!(run(&[]), Outcome::Skipped(_)));
    assert!(matches!(run(&[device]), Outcome::Failed(_)));
}

#[test]
fn every_cell_counts_once_and_every_reason_is_said_once() {
    let measured = |error| {
        let what = "logits".into();
        Outcome::Measured(vec![Measured { what, error, tolerance: 1e-4 }])
    };
    let skipped = || Outcome::Skipped("not here".into());
    let column = |dtype, outcomes| Column { device: DeviceSpec::Flex, dtype, outcomes };
    let columns = [
        column(Dtype::F32, vec![measured(2e-6), measured(0.5)]),
        column(Dtype::Bf16, vec![skipped(), skipped()]),
    ];
    let text = table(&[Case::Layout, Case::Score], &columns);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "largest error / tolerance  flex f32          flex bf16",
            "masks and positions        2.0e-6/1e-4 pass  skipped [1]",
            "f: log-probabilities       5.0e-1/1e-4 FAIL  skipped [1]",
            "[1] not here",
            "FAILED flex f32, f: log-probabilities: logits 5.00e-1, tolerance 1e-4",
        ]
    );
    let count = Count::of(&columns);
    assert_eq!(count.to_string(), "1 passed, 1 failed, 2 skipped");
}
