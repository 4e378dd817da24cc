//! Modules to files and back.

use std::fs;

use burn::tensor::FloatDType;
use burn_flex::Flex;
use paligemma_checkpoint::{Checkpoint, PaliGemmaConfig, load_module, save_module};
use safetensors::SafeTensors;

use crate::support::{Whole, assert_says, copy, golden, golden_config, tiny, values};

fn load(path: impl AsRef<std::path::Path>, dtype: Option<FloatDType>) -> Whole<Flex> {
    load_module(tiny(), &Checkpoint::open(path).unwrap(), "", dtype).unwrap().0
}

#[test]
fn what_is_saved_is_what_was_published() {
    let folder = tempfile::tempdir().unwrap();
    // Read under one spelling, written under another.
    let module = load(golden("hf_v5"), None);
    save_module(&module, folder.path().join("a/b"), &golden_config(), None).unwrap();
    let folder = folder.path().join("a/b");
    assert_eq!(PaliGemmaConfig::open(&folder).unwrap(), golden_config());

    let read = |folder: &std::path::Path| fs::read(folder.join("model.safetensors")).unwrap();
    let (ours, theirs) = (read(&folder), read(&golden("published")));
    let (_, header) = SafeTensors::read_metadata(&ours).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
    let sorted = |file| {
        let mut tensors = SafeTensors::deserialize(file).unwrap().tensors();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        tensors
    };
    assert!(sorted(&ours) == sorted(&theirs));
}

#[test]
fn every_type_is_kept_bit_for_bit() {
    for dtype in [FloatDType::F32, FloatDType::F16, FloatDType::BF16] {
        let folder = tempfile::tempdir().unwrap();
        let module = load(golden("published"), Some(dtype));
        save_module(&module, folder.path(), &golden_config(), None).unwrap();
        assert!(values(&load(folder.path(), None)) == values(&module), "{dtype:?}");
        // Converted while saving or while loading, the bits are the same.
        let wide = load(golden("published"), None);
        save_module(&wide, folder.path(), &golden_config(), Some(dtype)).unwrap();
        assert!(values(&load(folder.path(), None)) == values(&module), "{dtype:?}");
    }
}

#[test]
fn a_checkpoint_in_use_can_be_replaced() {
    let folder = copy("published");
    let module = load(folder.path(), None);
    let before = values(&module);
    save_module(&module, folder.path(), &golden_config(), Some(FloatDType::BF16)).unwrap();
    assert!(values(&module) == before);
    let names = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(names, 2, "nothing but model.safetensors and config.json is left");
}

#[test]
fn what_cannot_be_saved_leaves_the_folder_as_it_was() {
    let folder = copy("published");
    let weights = fs::read(folder.path().join("model.safetensors")).unwrap();
    let module = load(folder.path(), None);
    let double = Some(FloatDType::F64);
    let error = save_module(&module, folder.path(), &golden_config(), double).unwrap_err();
    assert_says(&error, &["F64", "F32, F16 or BF16"]);
    let part = save_module(&module.vision_tower, folder.path(), &golden_config(), None);
    assert_says(&part.unwrap_err(), &["no published name"]);
    assert!(fs::read(folder.path().join("model.safetensors")).unwrap() == weights);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);

    let file = folder.path().join("config.json");
    let error = save_module(&module, file.join("below"), &golden_config(), None).unwrap_err();
    assert_says(&error, &["cannot write", "config.json"]);
}
