//! Numbers that are not finite are found in every type, and nowhere else.

use half::{bf16, f16};
use paligemma_checkpoint::{Checkpoint, NotFinite};
use paligemma_packed::{PackedFormat, PackedLayout, VERSION};

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
fn in_the_scales_of_packed_matrices() {
    // Where the first number is that is no integer, and infinity in its type.
    let bf16: (&str, usize, &[u8]) = ("bf16", 0, &[0x80, 0x7f]);
    let int8: (&str, usize, &[u8]) = ("int8", 64 * 16, &[0, 0, 0x80, 0x7f]);
    let int4: (&str, usize, &[u8]) = ("int4", 64 * 16 / 2, &[0, 0x7c]);
    for (format, at, infinity) in [bf16, int8, int4] {
        let format: PackedFormat = format.parse().unwrap();
        let layout = PackedLayout { format, outputs: 16, inputs: 64 };
        let row = |_: usize, out: &mut [f32]| out.fill(0.5);
        let mut data = layout.pack(row).unwrap().as_ref().to_vec();
        let name = "multi_modal_projector.linear.weight";
        let found = |data: &[u8]| {
            let header = format!(
                r#"{{"__metadata__":{{"packed":"{{\"format\":\"{format}\",\"version\":{VERSION},\"shapes\":{{\"{name}\":[16,64]}}}}"}},
                "{name}":{{"dtype":"U8","shape":[{0}],"data_offsets":[0,{0}]}}}}"#,
                data.len()
            );
            Checkpoint::from_bytes(safetensors_file(&header, data)).unwrap().not_finite(|_| ())
        };
        assert_eq!(found(&data), [], "{format}");
        data[at..][..infinity.len()].copy_from_slice(infinity);
        assert_eq!(found(&data), [NotFinite { file_name: name.to_owned(), count: 1 }], "{format}");
        // Integers are finite, whatever their bits.
        data[at..][..infinity.len()].fill(0);
        if at > 0 {
            data[..at].fill(0xff);
        }
        assert_eq!(found(&data), [], "{format}");
    }
}

#[test]
fn the_golden_checkpoints_are_sound() {
    for folder in ["published", "sharded", "hf_v452", "hf_v5"] {
        assert_eq!(Checkpoint::open(golden(folder)).unwrap().not_finite(|_| ()), []);
    }
}
