//! The formats of others: what they wrote is read to the published weights, what is written they read,
//! and what is damaged is refused.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use burn_flex::{Flex, FlexDevice};
use paligemma_checkpoint::{
    Checkpoint, Export, Format, PaliGemmaConfig, WeightType, export, load_module, other_files,
    parameter_shapes,
};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::support::{Whole, assert_says, copy, golden, golden_2, golden_config, tiny, values};

const FORMATS: [Format; 4] =
    [Format::Safetensors, Format::BigVision, Format::PyTorch, Format::Burnpack];

fn load(folder: &Path, dtype: Option<WeightType>) -> Whole<Flex> {
    let config = PaliGemmaConfig::open(folder).unwrap();
    let checkpoint = Checkpoint::open(folder).unwrap();
    load_module(Whole::new(&config, &FlexDevice), &checkpoint, "", dtype).unwrap().0
}

#[test]
fn what_others_wrote_is_the_published_model() {
    let published = values::<Flex>(&load(&golden("published"), None));
    assert!(values::<Flex>(&load(&golden("big_vision"), None)) == published);
    assert!(values::<Flex>(&load(&golden("pytorch_sharded"), None)) == published);
    // That file is in bfloat16.
    let half = values::<Flex>(&load(&golden("published"), Some(WeightType::BF16)));
    assert!(values::<Flex>(&load(&golden("pytorch"), None)) == half);
    let published_2 = values::<Flex>(&load(&golden_2("published"), None));
    assert!(values::<Flex>(&load(&golden_2("big_vision"), None)) == published_2);
}

#[test]
fn burn_store_s_file_is_the_published_model() {
    // Every second tensor, in the order of their paths, is f16 there.
    let found = values::<Flex>(&load(&golden("burnpack"), None));
    let [whole, half] = [WeightType::F32, WeightType::F16]
        .map(|dtype| values::<Flex>(&load(&golden("published"), Some(dtype))));
    let mut paths: Vec<String> =
        parameter_shapes::<Flex, _>(&tiny()).into_iter().map(|(path, _)| path).collect();
    let in_order = paths.clone();
    paths.sort();
    for (index, path) in in_order.iter().enumerate() {
        let number = paths.binary_search(path).unwrap();
        let expected = if number % 2 == 1 { &half } else { &whole };
        assert!(found[index] == expected[index], "{path}");
    }
}

#[test]
fn reports_and_fingerprints_know_the_format() {
    let open = |folder: &str| Checkpoint::open(golden(folder)).unwrap();
    assert_eq!(open("big_vision").layout().name, "big_vision");
    assert_eq!(open("burnpack").layout().name, "burn modules");
    assert_eq!(open("pytorch").layout().name, "published");
    // The same weights, wherever their axes are.
    assert_eq!(open("big_vision").fingerprint(), open("published").fingerprint());
    assert_eq!(open("pytorch_sharded").fingerprint(), open("published").fingerprint());
    let names: Vec<_> = open("big_vision").tensors().map(|tensor| tensor.file_name).collect();
    assert!(names.iter().any(|name| name == "llm/layers/attn/kv_einsum/w[1, 0]"), "{names:?}");
}

fn write(from: &Path, format: Format, dtype: Option<WeightType>, out: &Path) {
    let config = PaliGemmaConfig::open(from).unwrap();
    let others = other_files(from).unwrap();
    let what = Export { adapter: None, dtype, format, config: &config, others: &others };
    let checkpoint = Checkpoint::open(from).unwrap();
    let mut told = 0;
    let module = Whole::<Flex>::new(&config, &FlexDevice);
    export(module, &checkpoint, what, out, |progress| told = progress.done).unwrap();
    assert!(told > 0);
}

/// The checkpoints that `check_formats.py` shows to torch, numpy and burn-store.
fn write_all(folder: &Path) {
    write(&golden("hf_v452"), Format::PyTorch, None, &folder.join("pytorch"));
    write(&golden("hf_v5"), Format::Burnpack, None, &folder.join("burnpack"));
    write(&golden_2("published"), Format::BigVision, None, &folder.join("big_vision"));
}

const WRITTEN: [(&str, &str); 3] =
    [("pytorch", "pytorch_model.bin"), ("burnpack", "model.bpk"), ("big_vision", "paligemma.npz")];

#[test]
#[ignore = "writes what check_formats.py shows to torch, numpy and burn-store"]
fn write_formats() {
    for (name, _) in WRITTEN {
        fs::remove_dir_all(golden("../written").join(name)).ok();
    }
    write_all(&golden("../written"));
}

#[test]
fn what_is_written_is_what_others_were_seen_to_read() {
    let folder = tempfile::tempdir().unwrap();
    write_all(folder.path());
    for (name, file) in WRITTEN {
        let seen = fs::read(golden("../written").join(name).join(file)).unwrap();
        assert!(fs::read(folder.path().join(name).join(file)).unwrap() == seen, "{file}");
    }
}

#[test]
fn every_format_becomes_every_other_and_comes_back_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (from, published) in [("one", golden("pytorch_sharded")), ("two", golden_2("published"))] {
        for dtype in [None, Some(WeightType::BF16), Some(WeightType::F16)] {
            let start = at(&format!("{from}-start-{dtype:?}"));
            write(&published, Format::Safetensors, dtype, &start);
            let start_file = fs::read(start.join("model.safetensors")).unwrap();
            if dtype.is_none() {
                let [ours, theirs] = [&start, &published].map(|at| Checkpoint::open(at).unwrap());
                assert_eq!(ours.fingerprint(), theirs.fingerprint());
            }
            for first in FORMATS {
                for second in FORMATS {
                    let names = [1, 2, 3]
                        .map(|n| at(&format!("{from}-{dtype:?}-{first:?}-{second:?}-{n}")));
                    write(&start, first, None, &names[0]);
                    write(&names[0], second, None, &names[1]);
                    write(&names[1], Format::Safetensors, None, &names[2]);
                    let back = fs::read(names[2].join("model.safetensors")).unwrap();
                    assert!(back == start_file, "{first:?}, {second:?}, {dtype:?}");
                }
            }
        }
    }
}

#[test]
fn damaged_files_are_refused_whatever_byte_it_is() {
    for (folder, file) in WRITTEN {
        let whole = fs::read(golden("../written").join(folder).join(file)).unwrap();
        for end in (0..whole.len()).step_by(whole.len() / 97) {
            assert!(Checkpoint::from_bytes(whole[..end].to_vec()).is_err(), "{file} cut at {end}");
        }
        // A changed byte among the numbers is another number; elsewhere it is an error, or another
        // name. None may panic.
        let description = whole.len().min(4000);
        let places = (0..description).chain(whole.len() - description..whole.len());
        for place in places.step_by(3) {
            let mut changed = whole.clone();
            changed[place] ^= 0x55;
            drop(Checkpoint::from_bytes(changed));
        }
    }
}

#[test]
fn what_cannot_be_taken_is_named() {
    let folder = copy("big_vision");
    fs::copy(folder.path().join("paligemma.npz"), folder.path().join("second.npz")).unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert_says(&error, &["several npz files", "paligemma.npz", "second.npz", "leave one"]);

    fs::remove_file(folder.path().join("paligemma.npz")).unwrap();
    // A copy of the mask VQ-VAE is no checkpoint.
    fs::rename(folder.path().join("second.npz"), folder.path().join("vae-oid.npz")).unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert_says(&error, &["has no weights", "model.safetensors", "npz of big_vision"]);

    let dictionary = "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 0), }\n";
    let length = (dictionary.len() as u16).to_le_bytes();
    let array = [b"\x93NUMPY\x01\x00", &length[..], dictionary.as_bytes()].concat();
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    archive.start_file("llm/layers/pre_attention_norm/scale.npy", stored).unwrap();
    archive.write_all(&array).unwrap();
    let endless = archive.finish().unwrap().into_inner();
    let error = Checkpoint::from_bytes(endless).unwrap_err();
    assert_says(&error, &["pre_attention_norm/scale", "not that of a PaliGemma of big_vision"]);

    let old = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".to_vec();
    let error = Checkpoint::from_bytes(old).unwrap_err();
    assert_says(&error, &["PyTorch before 1.6", "save it again"]);

    let error = Checkpoint::from_bytes(b"NRUB\x02\x00\x00\x00\x00\x00".to_vec()).unwrap_err();
    assert_says(&error, &["not a sound burnpack file of version 1"]);

    // A hostile pickle: one name for two tensors, or another machine's numbers.
    let file = fs::read(golden("pytorch").join("pytorch_model.bin")).unwrap();
    let place = file.windows(6).position(|bytes| bytes == b"little").unwrap();
    let mut big = file.clone();
    big[place..place + 6].copy_from_slice(b"bigger");
    let error = Checkpoint::from_bytes(big).unwrap_err();
    assert_says(&error, &["byteorder", "is not little"]);
    let find = |name: &[u8]| file.windows(name.len()).position(|bytes| bytes == name).unwrap();
    let [fc1, fc2] = [&b"layers.0.mlp.fc1.bias"[..], b"layers.0.mlp.fc2.bias"].map(find);
    let mut twice = file.clone();
    twice.copy_within(fc1..fc1 + 21, fc2);
    let error = Checkpoint::from_bytes(twice).unwrap_err();
    assert_says(&error, &["layers.0.mlp.fc1.bias", "twice"]);

    let folder = copy("pytorch_sharded");
    fs::write(folder.path().join("pytorch_model-00003-of-00003.bin"), b"").unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert_says(&error, &["pytorch_model-00003-of-00003.bin", "is not in the index"]);
}

#[test]
fn a_stack_of_several_types_wants_one_named() {
    let config = golden_config();
    let what = Export {
        adapter: None,
        dtype: None,
        format: Format::BigVision,
        config: &config,
        others: &[],
    };
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(golden("burnpack")).unwrap();
    let error = export(tiny(), &checkpoint, what, &folder.path().join("a"), |_| ()).unwrap_err();
    assert_says(&error, &["another type than its like in other layers", "name a dtype"]);
    let what = Export { dtype: Some(WeightType::F32), ..what };
    let out = folder.path().join("b");
    export(tiny(), &checkpoint, what, &out, |_| ()).unwrap();
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    // What was refused left nothing.
    assert!(!folder.path().join("a").exists());
}
