//! The conformance table in f32 on the CPU's devices; the program `conformance` adds the GPUs and
//! the other dtypes.

use paligemma::{DeviceSpec, Dtype};
use paligemma_tests::conformance::{Case, Count, GAPS, Gap, Outcome, TOLERANCES, columns, table};
use paligemma_tests::reference::Tiny;

#[test]
fn every_cpu_device_conforms() {
    let here = DeviceSpec::all().into_iter().filter(|known| {
        let gpu = matches!(known.device, DeviceSpec::Wgpu | DeviceSpec::Cuda(_));
        known.status.is_ok() && !gpu
    });
    let devices: Vec<DeviceSpec> = here.map(|known| known.device).collect();
    assert!(!devices.is_empty(), "a build without a backend tests nothing");
    for golden in Tiny::ALL {
        let cases = Case::all(golden);
        let columns = columns(golden, &cases, &devices, &[Dtype::F32], &devices, GAPS);
        let count = Count::of(&columns);
        assert_eq!(count.failed, 0, "{golden}: {count}\n{}", table(&cases, &columns));
        let mut outcomes = columns.iter().flat_map(|column| &column.outcomes);
        let skipped = outcomes.any(|outcome| matches!(outcome, Outcome::Skipped(_)));
        assert!(!skipped, "f32 skips nothing");
    }
}

#[test]
#[cfg_attr(not(feature = "flex"), ignore = "this build has no flex")]
fn packed_weights_conform() {
    let flex = DeviceSpec::Flex;
    for golden in Tiny::ALL {
        let (cases, dtypes) = (Case::all(golden), [Dtype::Bf16, Dtype::Int8, Dtype::Int4]);
        let columns = columns(golden, &cases, &[flex], &dtypes, &[flex], GAPS);
        let count = Count::of(&columns);
        assert_eq!(count.failed, 0, "{golden}: {count}\n{}", table(&cases, &columns));
        assert!(columns.iter().all(|column| column.outcomes.iter().any(Outcome::passes)));
    }
}

#[test]
fn names_of_cases_are_unique_and_every_tolerance_has_a_reason() {
    let mut names: Vec<String> = Case::all(Tiny::Gemma).iter().map(ToString::to_string).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(TOLERANCES.iter().all(|row| row.limit > 0.0 && !row.reason.is_empty()));
}

#[test]
fn every_gap_is_a_case() {
    let names: Vec<String> = Case::all(Tiny::Gemma).iter().map(ToString::to_string).collect();
    let strays = |gaps: &[Gap]| -> Vec<&'static str> {
        let all = gaps.iter().map(|gap| gap.case);
        all.filter(|case| !names.iter().any(|name| name == case)).collect()
    };
    // The list may be empty: a gap that is made up shows that the check can fail.
    let made_up = Gap { device: "cuda", dtype: Dtype::F32, case: "no case", reason: "none" };
    assert_eq!(strays(&[made_up]), ["no case"]);
    let unknown = strays(GAPS);
    assert!(unknown.is_empty(), "no cases: {unknown:?}");
}
