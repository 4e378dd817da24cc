//! Adapters in PEFT's files: read, refused, written, merged and exported.

use std::fs;
use std::path::Path;

use burn::tensor::FloatDType;
use burn_flex::Flex;
use paligemma_checkpoint::{
    AdapterFile, Checkpoint, Export, Format, export, load_module, other_files, save_adapter,
    save_module, write_files,
};
use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::support::{Whole, assert_says, copy, golden, golden_config, tiny};

const WEIGHTS: &str = "adapter_model.safetensors";
const CONFIG: &str = "adapter_config.json";

fn base() -> Whole<Flex> {
    load_module(tiny(), &Checkpoint::open(golden("published")).unwrap(), "", None).unwrap().0
}

fn adapted() -> Whole<Flex> {
    AdapterFile::open(golden("adapter")).unwrap().apply(base()).unwrap()
}

/// Tensors of a safetensors file by their names, as bytes.
fn tensors(file: &Path) -> Vec<(String, Vec<usize>, Vec<u8>)> {
    let file = fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap().tensors();
    let mut tensors: Vec<_> = tensors
        .into_iter()
        .map(|(name, view)| (name, view.shape().to_vec(), view.data().to_vec()))
        .collect();
    tensors.sort();
    tensors
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

#[test]
fn both_spellings_and_the_older_file_are_one_adapter() {
    let [new, old, bin] = ["adapter", "adapter_published", "adapter_bin"].map(|name| {
        let adapter = AdapterFile::open(golden(name)).unwrap();
        assert_eq!((adapter.config().rank, adapter.config().scale()), (3, 5.0 / 3.0));
        assert_eq!(adapter.config().base.as_deref(), Some("published"));
        let folder = tempfile::tempdir().unwrap();
        let module = adapter.apply::<Flex, _>(base()).unwrap();
        save_adapter(&module, folder.path(), adapter.config()).unwrap();
        tensors(&folder.path().join(WEIGHTS))
    });
    assert!(new == old && new == bin);
    let files = AdapterFile::open(golden("adapter_bin")).unwrap().files().unwrap();
    assert!(files.iter().map(|(name, _)| name).eq([CONFIG, "adapter_model.bin"]));
    // What was read is what is written, under the names that PEFT writes now.
    assert!(new == tensors(&golden("adapter").join(WEIGHTS)));
}

/// Writes an adapter and a merged export into new folders, `adapter` and `merged`.
fn write(folder: &Path) {
    let adapter = AdapterFile::open(golden("adapter")).unwrap();
    save_adapter(&adapted(), folder.join("adapter"), adapter.config()).unwrap();
    let checkpoint = Checkpoint::open(golden("hf_v5")).unwrap();
    let others = other_files(&golden("published")).unwrap();
    let (out, mut told) = (folder.join("merged"), 0);
    let (config, format) = (golden_config(), Format::Safetensors);
    let adapter_ = Some(&adapter);
    let what = Export { adapter: adapter_, dtype: None, format, config: &config, others: &others };
    export(tiny(), &checkpoint, what, &out, |p| told = p.done).unwrap();
    assert!(told > 0);
}

#[test]
#[ignore = "writes what check_adapters.py shows to PEFT and transformers"]
fn write_fixtures() {
    fs::remove_dir_all(golden("../written")).ok();
    write(&golden("../written"));
}

/// `check_adapters.py` shows that PEFT and transformers load `written/adapter` and `written/merged`: these
/// are what is written now.
#[test]
fn what_is_written_is_what_others_were_seen_to_load() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    for (name, files) in
        [("adapter", [CONFIG, WEIGHTS]), ("merged", ["config.json", "model.safetensors"])]
    {
        assert_eq!(fs::read_dir(folder.path().join(name)).unwrap().count(), 2);
        for file in files {
            let seen = fs::read(golden("../written").join(name).join(file)).unwrap();
            assert!(fs::read(folder.path().join(name).join(file)).unwrap() == seen, "{file}");
        }
    }
    let out = folder.path().join("merged");
    // And PEFT's own sums, within the rounding of f32.
    let theirs = tensors(&golden("adapters.safetensors"));
    let ours = tensors(&out.join("model.safetensors"));
    let mut compared = 0;
    for (name, shape, value) in ours {
        let Some(theirs) = theirs.iter().find(|other| other.0 == format!("merged.{name}")) else {
            continue;
        };
        assert_eq!(shape, theirs.1);
        let pairs = floats(&value).into_iter().zip(floats(&theirs.2));
        assert!(pairs.map(|(a, b)| (a - b).abs()).all(|error| error < 2e-6), "{name}");
        compared += 1;
    }
    assert_eq!(compared, 2 * 7);
}

#[test]
fn a_model_without_an_adapter_is_exported_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(golden("hf_v452")).unwrap();
    let others = other_files(&golden("published")).unwrap();
    let (config, format) = (golden_config(), Format::Safetensors);
    let plain = Export { adapter: None, dtype: None, format, config: &config, others: &others };
    let out = folder.path().join("f32");
    export(tiny(), &checkpoint, plain, &out, |_| ()).unwrap();
    let published = tensors(&golden("published").join("model.safetensors"));
    assert!(tensors(&out.join("model.safetensors")) == published);
    assert!(fs::read(out.join("config.json")).unwrap() == others[0].1);

    let out = folder.path().join("bf16");
    let half = Some(FloatDType::BF16);
    export(tiny(), &checkpoint, Export { dtype: half, ..plain }, &out, |_| ()).unwrap();
    let config: Value =
        serde_json::from_slice(&fs::read(out.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["torch_dtype"], "bfloat16");
    let saved = folder.path().join("saved");
    save_module(&base(), &saved, &golden_config(), half).unwrap();
    assert!(tensors(&out.join("model.safetensors")) == tensors(&saved.join("model.safetensors")));

    let error = export(tiny(), &checkpoint, plain, &out, |_| ()).unwrap_err();
    assert_says(&error, &["holds files", "name a new folder"]);
    let files = [("a".to_owned(), b"b".to_vec())];
    assert_says(&write_files(&out, &files).unwrap_err(), &["holds files"]);
    write_files(&folder.path().join("new"), &files).unwrap();
    assert_eq!(fs::read(folder.path().join("new/a")).unwrap(), b"b");
}

#[test]
fn a_model_with_an_adapter_is_not_saved_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let error = save_module(&adapted(), folder.path(), &golden_config(), None).unwrap_err();
    assert_says(&error, &["lora_A", "merge it first"]);
    let config = AdapterFile::open(golden("adapter")).unwrap().config().clone();
    let error = save_adapter(&base(), folder.path(), &config).unwrap_err();
    assert_says(&error, &["no adapter to save"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Opens and applies the golden adapter after a change of its folder.
#[track_caller]
fn refused(change: impl FnOnce(&Path), parts: &[&str]) {
    let folder = copy("adapter");
    change(folder.path());
    let result = AdapterFile::open(folder.path());
    match result.and_then(|adapter| adapter.apply::<Flex, _>(base())) {
        Ok(_) => panic!("{parts:?} was let through"),
        Err(error) => assert_says(&error, parts),
    }
}

fn with(field: &str, value: Value) -> impl FnOnce(&Path) {
    move |folder| {
        let path = folder.join(CONFIG);
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config[field] = value;
        fs::write(path, config.to_string()).unwrap();
    }
}

#[test]
fn what_is_no_plain_lora_is_refused_by_its_field() {
    for (field, value) in [
        ("peft_type", json!("LOHA")),
        ("use_rslora", json!(true)),
        ("use_dora", json!(true)),
        ("bias", json!("all")),
        ("lora_bias", json!(true)),
        ("fan_in_fan_out", json!(true)),
        ("modules_to_save", json!(["lm_head"])),
        ("rank_pattern", json!({"q_proj": 16})),
        ("alpha_pattern", json!({"q_proj": 16})),
        ("init_lora_weights", json!("pissa")),
        ("trainable_token_indices", json!([3])),
    ] {
        refused(with(field, value.clone()), &[CONFIG, field, "only plain LoRA is supported"]);
    }
    // What says nothing is let through.
    for (field, value) in [
        ("modules_to_save", json!([])),
        ("bias", json!(null)),
        ("init_lora_weights", json!("gaussian")),
    ] {
        let folder = copy("adapter");
        with(field, value)(folder.path());
        AdapterFile::open(folder.path()).unwrap();
    }
}

#[test]
fn broken_adapters_are_refused() {
    refused(|folder| fs::remove_file(folder.join(CONFIG)).unwrap(), &["cannot read", CONFIG]);
    refused(|folder| fs::remove_file(folder.join(WEIGHTS)).unwrap(), &["cannot read", WEIGHTS]);
    refused(|folder| fs::write(folder.join(CONFIG), "[").unwrap(), &["no adapter's configuration"]);
    refused(with("r", json!("many")), &["no adapter's configuration"]);
    refused(with("r", json!(0)), &["`r` is 0", "at least 1"]);
    refused(with("lora_dropout", json!(1.5)), &["`lora_dropout` is 1.5"]);
    // Another rank than the tensors have.
    refused(with("r", json!(4)), &["down_proj.lora_A.weight", "[3, 96]", "[4, 96]", "the rank"]);
}

/// Rewrites the golden adapter's tensors: each name, shape and data, or nothing.
fn tensors_as(
    change: impl Fn(&str, &[usize]) -> Option<(String, Vec<usize>)>,
) -> impl FnOnce(&Path) {
    use safetensors::tensor::TensorView;
    move |folder| {
        let path = folder.join(WEIGHTS);
        let file = fs::read(&path).unwrap();
        let read = SafeTensors::deserialize(&file).unwrap();
        let kept = read.tensors().into_iter().filter_map(|(name, view)| {
            let (name, shape) = change(&name, view.shape())?;
            let bytes = &view.data()[..4 * shape.iter().product::<usize>()];
            Some((name, TensorView::new(view.dtype(), shape, bytes).unwrap()))
        });
        let written = safetensors::serialize(kept.collect::<Vec<_>>(), None).unwrap();
        fs::write(path, written).unwrap();
    }
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    const Q: &str = "layers.0.self_attn.q_proj.lora_";
    let renamed = |from: &'static str, to: &'static str| {
        tensors_as(move |name, shape| Some((name.replace(from, to), shape.to_vec())))
    };
    refused(
        tensors_as(|name, shape| {
            let shape =
                if name.contains(Q) && name.contains("_B") { vec![32, 3] } else { shape.to_vec() };
            Some((name.to_owned(), shape))
        }),
        &["layers.0.self_attn.q_proj.lora_B.weight", "[32, 3]", "[64, 3]"],
    );
    refused(
        tensors_as(|name, shape| {
            (!(name.contains(Q) && name.contains("_B"))).then(|| (name.to_owned(), shape.to_vec()))
        }),
        &["layers.0.self_attn.q_proj.lora_A.weight", "stands alone"],
    );
    refused(
        renamed("layers.1.mlp", "layers.7.mlp"),
        &[
            "layers.7.mlp",
            "this model lacks (and 2 more)",
            "nearest it has is `language_model.layers.1.mlp",
        ],
    );
    refused(renamed("lora_A", "lora_embedding_A"), &["lora_embedding_A", "no LoRA factor"]);
    refused(renamed("base_model.model.", ""), &["no LoRA factor of a PaliGemma"]);
    refused(
        renamed("layers.0.self_attn.o_proj", "embed_tokens"),
        &["embed_tokens", "for a part that this model lacks"],
    );
}
