//! Archives of arrays: read in place, and refused when they lie.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use burn::tensor::FloatDType;
use paligemma_checkpoint::{Checkpoint, Elements, SourceError};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::support::{assert_says, message};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/masks").join(name)
}

/// An archive of files, stored as they are.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, contents) in files {
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        writer.start_file(*name, stored).unwrap();
        writer.write_all(contents).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// An `.npy` file with this dictionary.
fn array(header: &str, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

fn header(dtype: &str, order: &str, shape: &str) -> String {
    format!("{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}, }}\n")
}

fn refuse(contents: &[u8]) -> SourceError {
    Checkpoint::from_bytes(archive(&[("a/kernel.npy", contents)])).unwrap_err()
}

#[test]
fn stored_and_compressed_arrays_are_the_same() {
    let open = |name: &str| Checkpoint::open(golden(name)).unwrap();
    let infos = |checkpoint: &Checkpoint| {
        let facts = checkpoint.tensors().map(|info| (info.file_name, info.elements, info.shape));
        facts.collect::<Vec<_>>()
    };
    let (stored, compressed) = (open("vae.npz"), open("vae-compressed.npz"));
    assert_eq!(infos(&stored), infos(&compressed));
    // An embedding, and weight and bias of 11 layers of the encoder and of 12 of the decoder.
    assert_eq!(infos(&stored).len(), 1 + 2 * (11 + 12));
    assert!(stored.tensors().all(|info| info.module_path.is_some()));
    assert_eq!(stored.layout().name, "vae-oid");
}

#[test]
fn types_and_shapes_are_read() {
    let file = archive(&[
        ("half.npy", &array(&header("<f2", "False", "(2, 3)"), &[0; 12])),
        ("brain.npy", &array(&header("|V2", "False", "(5,)"), &[0; 10])),
        ("single.npy", &array(&header("<f4", "False", "()"), &[0; 4])),
        // One axis is in both orders at once.
        ("column.npy", &array(&header("<f4", "True", "(2,)"), &[0; 8])),
        ("none.npy", &array(&header("<f4", "False", "(0, 7)"), &[])),
    ]);
    let checkpoint = Checkpoint::from_bytes(file).unwrap();
    let found: Vec<_> =
        checkpoint.tensors().map(|info| (info.file_name, info.elements, info.shape)).collect();
    let float = Elements::Float;
    assert_eq!(
        found,
        [
            ("brain".to_owned(), float(FloatDType::BF16), vec![5]),
            ("column".to_owned(), float(FloatDType::F32), vec![2]),
            ("half".to_owned(), float(FloatDType::F16), vec![2, 3]),
            ("none".to_owned(), float(FloatDType::F32), vec![0, 7]),
            ("single".to_owned(), float(FloatDType::F32), vec![]),
        ]
    );
}

#[test]
fn arrays_that_cannot_be_taken_are_refused_by_name() {
    let four = |dtype: &str, order: &str, shape: &str| {
        refuse(&array(&header(dtype, order, shape), &[0; 16]))
    };
    for (error, says) in [
        (four("<f8", "False", "(2,)"), "<f8"),
        (four(">f4", "False", "(4,)"), ">f4"),
        (four("<f4", "True", "(2, 2)"), "Fortran"),
        (four("<f4", "False", "(5,)"), "demands 20"),
        (four("<f4", "False", "(3,)"), "demands 12"),
        (four("<f4", "False", "(4294967296, 4294967296, 4294967296)"), "has 16 bytes"),
        (four("<f4", "Maybe", "(4,)"), "is not an array"),
        (four("<f4", "False", "(-4,)"), "is not an array"),
        (four("<f4", "False", "(4"), "is not an array"),
        (refuse(b""), "is not an array"),
        (refuse(b"\x93NUMPY\x01\x00\xff\xff{}"), "is not an array"),
        (refuse(b"\x93NUMPY\x03\x00\xff\xff\xff\xff{}"), "is not an array"),
        (refuse(b"hello, world, I am a text"), "is not an array"),
    ] {
        assert_says(&error, &["`a/kernel`", "(memory)", says]);
    }
}

/// The claimed length is 4 bytes of an entry of the archive's directory.
#[test]
fn an_array_that_claims_to_unpack_to_gigabytes_is_refused() {
    let mut file = fs::read(golden("vae-compressed.npz")).unwrap();
    let entry = file.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    file[entry + 24..entry + 28].copy_from_slice(&0xf000_0000_u32.to_le_bytes());
    assert_says(&Checkpoint::from_bytes(file).unwrap_err(), &["unpack to more than weights do"]);
}

#[test]
fn a_damaged_archive_is_refused_or_read_but_never_a_panic() {
    let (plain, packed) =
        (fs::read(golden("vae.npz")).unwrap(), fs::read(golden("vae-compressed.npz")).unwrap());
    for length in (0..plain.len()).step_by(271) {
        message(&Checkpoint::from_bytes(plain[..length].to_vec()).unwrap_err());
    }
    for file in [plain, packed] {
        // Headers are at the beginning, the directory of the archive at the end.
        let (start, end) = (300, file.len() - 6000);
        let places =
            (0..start).chain((start..end).step_by(499)).chain((end..file.len()).step_by(17));
        for (at, change) in places.zip([0x01, 0x80, 0xff].into_iter().cycle()) {
            let mut damaged = file.clone();
            damaged[at] ^= change;
            if let Err(error) = Checkpoint::from_bytes(damaged) {
                message(&error);
            }
        }
    }
}
