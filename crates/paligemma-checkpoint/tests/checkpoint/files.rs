//! Damaged, lying and incomplete weight files.

use std::fs;
use std::path::Path;

use paligemma_checkpoint::{Checkpoint, SourceError};
use serde_json::{Value, json};

use crate::support::{
    TENSORS, assert_says, copy, golden, message, published_weights, safetensors_file,
};

const INDEX: &str = "model.safetensors.index.json";
const FIRST: &str = "model-00001-of-00006.safetensors";
const SECOND: &str = "model-00002-of-00006.safetensors";
const EMBEDDING: &str = "language_model.model.embed_tokens.weight";

fn refuse(file: Vec<u8>) -> SourceError {
    Checkpoint::from_bytes(file).unwrap_err()
}

fn change_index(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join(INDEX);
    let mut index = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut index);
    fs::write(path, index.to_string()).unwrap();
}

#[test]
fn a_fingerprint_tells_weights_apart_and_not_their_files() {
    let open = |folder: &Path| Checkpoint::open(folder).unwrap().fingerprint();
    let published = open(&golden("published"));
    for same in ["sharded", "hf_v5"] {
        assert_eq!(open(&golden(same)), published, "{same}");
    }
    assert!(published.len() == 64 && published.bytes().all(|digit| digit.is_ascii_hexdigit()));
    // It carries a copy of the tied head.
    assert_ne!(open(&golden("hf_v452")), published);
    let mut changed = published_weights();
    *changed.last_mut().unwrap() ^= 1;
    assert_ne!(Checkpoint::from_bytes(changed).unwrap().fingerprint(), published);
}

#[test]
fn hostile_headers_are_refused() {
    let one = |entry: &str| safetensors_file(&format!("{{{entry}}}"), &[0; 8]);
    let tensor = |name: &str, shape: &str, offsets: &str| {
        format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}"#)
    };
    assert!(Checkpoint::from_bytes(one(&tensor("a", "[2]", "[0,8]"))).is_ok());
    let deep = "[".repeat(100_000);
    for (what, file) in [
        ("nothing", Vec::new()),
        ("half a length", vec![1; 4]),
        ("endless header", u64::MAX.to_le_bytes().to_vec()),
        ("header past the end", 100_u64.to_le_bytes().to_vec()),
        ("no text", [&2_u64.to_le_bytes()[..], &[0xff, 0xfe]].concat()),
        ("no json", safetensors_file("hello", &[])),
        ("deep json", safetensors_file(&deep, &[])),
        ("no object", safetensors_file("[1]", &[])),
        ("data missing", safetensors_file(&format!("{{{}}}", tensor("a", "[2]", "[0,8]")), &[0])),
        ("data left over", safetensors_file("{}", &[0; 8])),
        ("offsets beyond", one(&tensor("a", "[2]", "[0,4096]"))),
        ("offsets reversed", one(&tensor("a", "[2]", "[8,0]"))),
        ("offsets negative", one(&tensor("a", "[2]", "[-8,0]"))),
        ("shape too large", one(&tensor("a", "[3]", "[0,8]"))),
        ("shape overflows", one(&tensor("a", "[4294967296,4294967296,4294967296]", "[0,8]"))),
        ("overlap", one(&[tensor("a", "[2]", "[0,8]"), tensor("b", "[1]", "[4,8]")].join(","))),
        ("gap", one(&tensor("a", "[1]", "[4,8]"))),
        ("twice", one(&[tensor("a", "[2]", "[0,8]"), tensor("a", "[2]", "[0,8]")].join(","))),
    ] {
        let error = refuse(file);
        assert!(message(&error).contains("(memory)"), "{what}: {error}");
    }
    let twice = [tensor("a", "[2]", "[0,8]"), tensor("a", "[2]", "[0,8]")].join(",");
    assert_says(&refuse(one(&twice)), &["the name `a` appears twice"]);
}

#[test]
fn other_types_are_refused_by_name() {
    let header = r#"{"a.weight":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#;
    let error = refuse(safetensors_file(header, &[0; 8]));
    assert_says(&error, &["`a.weight`", "I64", "F32, F16 or BF16"]);
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = published_weights();
    for length in (0..7000).step_by(97).chain((7000..whole.len()).step_by(9973)) {
        refuse(whole[..length].to_vec());
    }
}

#[test]
fn a_header_with_any_byte_changed_does_not_panic() {
    let whole = published_weights();
    for position in 0..4000 {
        let mut file = whole.clone();
        file[position] = file[position].wrapping_add(1 + (position % 200) as u8);
        if let Err(error) = Checkpoint::from_bytes(file) {
            message(&error);
        }
    }
}

#[test]
fn files_that_are_not_there_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert_says(&error, &["has no weights", "model.safetensors.index.json"]);
    let error = Checkpoint::open(folder.path().join("none.safetensors")).unwrap_err();
    assert_says(&error, &["cannot read", "none.safetensors"]);
    fs::create_dir(folder.path().join("model.safetensors")).unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert_says(&error, &["cannot read", "model.safetensors"]);
}

#[test]
fn shards_can_be_opened_by_folder_and_by_index() {
    let folder = golden("sharded");
    let count = |path: &Path| Checkpoint::open(path).unwrap().tensors().count();
    assert_eq!(count(&folder), TENSORS);
    assert_eq!(count(&folder.join(INDEX)), TENSORS);
}

#[test]
fn a_missing_shard_is_named() {
    let folder = copy("sharded");
    fs::remove_file(folder.path().join(SECOND)).unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert_says(&error, &[SECOND, "missing"]);
}

#[test]
fn a_cut_shard_is_named() {
    let folder = copy("sharded");
    let path = folder.path().join(SECOND);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert_says(&Checkpoint::open(folder.path()).unwrap_err(), &[SECOND, "not a sound"]);
}

#[test]
fn a_shard_that_is_not_in_the_index_is_named() {
    let folder = copy("sharded");
    let stray = "model-00007-of-00007.safetensors";
    fs::copy(folder.path().join(FIRST), folder.path().join(stray)).unwrap();
    assert_says(&Checkpoint::open(folder.path()).unwrap_err(), &[stray, "not in"]);
}

#[test]
fn index_and_shards_must_agree_on_every_tensor() {
    let folder = copy("sharded");
    change_index(folder.path(), |index| index["weight_map"]["ghost"] = json!(FIRST));
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert_says(&error, &["`ghost` is not in", FIRST]);

    let folder = copy("sharded");
    change_index(folder.path(), |index| {
        index["weight_map"].as_object_mut().unwrap().remove(EMBEDDING);
    });
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert_says(&error, &[EMBEDDING, FIRST, "does not place it"]);

    let folder = copy("sharded");
    change_index(folder.path(), |index| index["weight_map"][EMBEDDING] = json!(SECOND));
    assert_says(&Checkpoint::open(folder.path()).unwrap_err(), &[EMBEDDING]);
}

#[test]
fn an_index_cannot_reach_outside_its_folder() {
    for shard in ["../model.safetensors", "/etc/hostname", "a/b.safetensors", "..", ".", ""] {
        let folder = copy("sharded");
        change_index(folder.path(), |index| index["weight_map"][EMBEDDING] = json!(shard));
        let error = Checkpoint::open(folder.path()).unwrap_err();
        assert_says(&error, &[INDEX, &format!("`{shard}`"), "not a file name"]);
    }
}

#[test]
fn a_broken_index_is_named() {
    let folder = copy("sharded");
    for (index, part) in [
        ("", "EOF"),
        ("{}", "missing field `weight_map`"),
        (r#"{"weight_map": {"a": 1}}"#, "invalid type"),
        (r#"{"weight_map": {"a": "x", "a": "y"}}"#, "the name `a` appears twice"),
    ] {
        fs::write(folder.path().join(INDEX), index).unwrap();
        assert_says(&Checkpoint::open(folder.path()).unwrap_err(), &[INDEX, part]);
    }
}

#[test]
fn gguf_is_refused_by_its_first_bytes_and_in_a_folder() {
    let parts = ["GGUF", "no layout of PaliGemma", "safetensors"];
    assert_says(&Checkpoint::from_bytes(b"GGUF\x03\0\0\0".to_vec()).unwrap_err(), &parts);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("model-q4.gguf"), b"GGUF").unwrap();
    assert_says(&Checkpoint::open(folder.path()).unwrap_err(), &parts);
}
