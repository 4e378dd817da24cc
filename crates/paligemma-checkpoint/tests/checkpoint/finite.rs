//! Numbers that are not finite are found in every type, and nowhere else.

use half::{bf16, f16};
use paligemma_checkpoint::{Checkpoint, NotFinite};

use crate::support::{golden, safetensors_file};

const SPECIAL: [f32; 8] =
    [0.0, f32::NAN, -1.5, f32::INFINITY, f32::MAX, f32::NEG_INFINITY, f32::MIN_POSITIVE, -0.0];

fn found(dtype: &str, data: &[u8]) -> Vec<NotFinite> {
    let header = format!(
        r#"{{"multi_modal_projector.linear.bias":
        {{"dtype":"{dtype}","shape":[8],"data_offsets":[0,{}]}}}}"#,
        data.len()
    );
    let checkpoint = Checkpoint::from_bytes(safetensors_file(&header, data)).unwrap();
    let mut told = Vec::new();
    let found = checkpoint.not_finite(|progress| told.push((progress.done, progress.total)));
    assert_eq!(told, [(data.len(), data.len())]);
    found
}

#[test]
fn in_every_type() {
    let expected = |count| {
        let file_name = "multi_modal_projector.linear.bias".to_owned();
        vec![NotFinite { file_name, count }]
    };
    let single = SPECIAL.map(f32::to_le_bytes);
    assert_eq!(found("F32", single.as_flattened()), expected(3));
    // The largest single is infinite in both halves.
    let brain = SPECIAL.map(|value| bf16::from_f32(value).to_le_bytes());
    assert_eq!(found("BF16", brain.as_flattened()), expected(4));
    let half = SPECIAL.map(|value| f16::from_f32(value).to_le_bytes());
    assert_eq!(found("F16", half.as_flattened()), expected(4));
    let largest = [f16::MAX, f16::MIN, f16::MIN_POSITIVE, f16::ZERO];
    let largest = [largest, largest].concat();
    let largest: Vec<u8> = largest.iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(found("F16", &largest), []);
}

#[test]
fn the_golden_checkpoints_are_sound() {
    for folder in ["published", "sharded", "hf_v452", "hf_v5"] {
        assert_eq!(Checkpoint::open(golden(folder)).unwrap().not_finite(|_| ()), []);
    }
}
