//! Mask VQ-VAEs: files of any size into modules, and back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn_flex::{Flex, FlexDevice};
use paligemma_checkpoint::{
    Checkpoint, LoadError, MASK_LAYOUT, load_masks, parameter_shapes, save_masks,
};
use paligemma_mask::{MaskConfig, MaskVqVae};
use safetensors::SafeTensors;

use crate::support::{assert_says, changed_weights, values};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/masks").join(name)
}

fn load(checkpoint: &Checkpoint) -> Result<MaskVqVae<Flex>, LoadError> {
    load_masks(checkpoint, &FlexDevice).map(|(masks, _)| masks)
}

fn shapes(masks: &MaskVqVae<Flex>) -> BTreeMap<String, Vec<usize>> {
    let shapes = parameter_shapes::<Flex, _>(masks).into_iter();
    shapes.map(|(path, shape)| (MASK_LAYOUT.file_name(&path).unwrap(), shape)).collect()
}

#[test]
fn names_and_shapes_are_those_of_the_published_file() {
    let shapes = shapes(&MaskVqVae::new(&MaskConfig::published(), &FlexDevice));
    let mut expected: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut layer = |name: String, weight: [usize; 4], outputs: usize| {
        expected.insert(format!("{name}.weight"), weight.to_vec());
        expected.insert(format!("{name}.bias"), vec![outputs]);
    };
    for (position, input, output) in [(0, 1, 16), (2, 16, 32), (4, 32, 64), (6, 64, 128)] {
        layer(format!("encoder.{position}"), [output, input, 4, 4], output);
    }
    for name in ["encoder.8", "encoder.9", "decoder.2", "decoder.3"] {
        for (position, kernel) in [(0, 3), (2, 3), (4, 1)] {
            layer(format!("{name}.net.{position}"), [128, 128, kernel, kernel], 128);
        }
    }
    layer("encoder.10".into(), [512, 128, 1, 1], 512);
    layer("decoder.0".into(), [128, 512, 1, 1], 128);
    for (position, input, output) in [(4, 128, 128), (6, 128, 64), (8, 64, 32), (10, 32, 16)] {
        layer(format!("decoder.{position}"), [input, output, 4, 4], output);
    }
    layer("decoder.12".into(), [1, 16, 1, 1], 1);
    expected.insert("_vq_vae._embedding".into(), vec![128, 512]);
    assert_eq!(shapes, expected);
}

#[test]
fn both_kinds_of_file_hold_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("masks.safetensors");
    let archive = load(&Checkpoint::open(golden("vae.npz")).unwrap()).unwrap();
    let compressed = load(&Checkpoint::open(golden("vae-compressed.npz")).unwrap()).unwrap();
    assert!(values(&archive) == values(&compressed));

    save_masks(&archive, &path).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert!(values(&load(&checkpoint).unwrap()) == values(&archive));
    let names = |checkpoint: &Checkpoint| {
        let mut names: Vec<_> = checkpoint.tensors().map(|info| info.file_name).collect();
        names.sort();
        names
    };
    assert_eq!(names(&checkpoint), names(&Checkpoint::open(golden("vae.npz")).unwrap()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn what_is_no_mask_model_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("masks.safetensors");
    save_masks(&load(&Checkpoint::open(golden("vae.npz")).unwrap()).unwrap(), &path).unwrap();
    let file = fs::read(&path).unwrap();
    let others = SafeTensors::deserialize(&file).unwrap();
    let refuse = |changed: Vec<u8>| load(&Checkpoint::from_bytes(changed).unwrap()).unwrap_err();

    for name in ["_vq_vae._embedding", "encoder.4.weight", "decoder.8.bias", "decoder.12.weight"] {
        let error = refuse(changed_weights(&file, |tensors| drop(tensors.remove(name))));
        assert_says(&error, &["lacks", &format!("`{name}`")]);
        // A tensor of another rank and size in its place.
        let other = others.tensor("decoder.3.net.2.weight").unwrap();
        let error = refuse(changed_weights(&file, |tensors| {
            tensors.insert(name.to_owned(), other.clone());
        }));
        assert!(matches!(error, LoadError::Shape { .. }), "{error}");
    }
    let stray = others.tensor("encoder.0.bias").unwrap();
    let error = refuse(changed_weights(&file, |tensors| {
        tensors.insert("encoder.1.bias".to_owned(), stray);
    }));
    assert_says(&error, &["`encoder.1.bias`", "no part of this model"]);
    let model = Checkpoint::open(crate::support::golden("published")).unwrap();
    assert_says(&load(&model).unwrap_err(), &["`_vq_vae._embedding`"]);
}
