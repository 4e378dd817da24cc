//! Packed modules: from published files and from converted ones, bit for bit the same.

use std::fs;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{FloatDType, Int, Tensor, backend::Backend};
use burn_flex::Flex;
use paligemma_checkpoint::{
    Checkpoint, Elements, LoadError, Progress, SaveError, check_module, convert, load_module,
    load_packed, other_files, parameter_shapes,
};
use paligemma_packed::{PackedFormat, PackedLayout, VERSION};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};

use crate::support::{
    TENSORS, Whole, assert_says, changed_weights, golden, published_weights, tiny, values,
};

const FORMATS: [PackedFormat; 3] = [PackedFormat::Bf16, PackedFormat::Int8, PackedFormat::Int4];
const GATE: &str = "language_model.model.layers.0.mlp.gate_proj.weight";
/// Matrices of the golden model: 6 for each of 2 vision layers, 7 for each of 2 text layers, the
/// projector's and the embeddings.
const MATRICES: usize = 2 * 6 + 2 * 7 + 1 + 1;

/// The packed bytes of every matrix, in the order of the module.
fn matrices<B: Backend>(module: &impl Module<B>) -> Vec<Vec<u8>> {
    struct Matrices(Vec<Vec<u8>>);
    impl<B: Backend> ModuleVisitor<B> for Matrices {
        fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<B, D, Int>>) {
            self.0.push(param.val().into_data().bytes.to_vec());
        }
    }
    let mut matrices = Matrices(Vec::new());
    module.visit(&mut matrices);
    matrices.0
}

fn load(checkpoint: &Checkpoint, format: PackedFormat) -> Result<Whole<Flex>, LoadError> {
    load_packed::<Flex, _>(tiny(), checkpoint, "", format, |_| ()).map(|(module, _)| module)
}

fn write(folder: &Path, format: PackedFormat) -> Result<(), SaveError> {
    let source = golden("published");
    let others = other_files(&source).unwrap();
    let checkpoint = Checkpoint::open(&source).unwrap();
    convert::<Flex, _>(tiny(), &checkpoint, format, &others, folder, |_| ())
}

#[test]
fn matrices_are_packed_and_the_rest_is_not() {
    let checkpoint = Checkpoint::open(golden("sharded")).unwrap();
    let file = published_weights();
    let file = SafeTensors::deserialize(&file).unwrap();
    for format in FORMATS {
        let mut seen = Vec::new();
        let show = |Progress { done, total, .. }: Progress<'_>| seen.push((done, total));
        let (module, report) =
            load_packed::<Flex, _>(tiny(), &checkpoint, "", format, show).unwrap();
        assert_eq!(report, check_module::<Flex, _>(&tiny(), &checkpoint, "").unwrap());
        assert_eq!(seen.len(), TENSORS);
        assert!(seen.is_sorted() && seen.last() == Some(&(report.bytes, report.bytes)));
        let packed = matrices(&module);
        assert_eq!((packed.len(), values(&module).len()), (MATRICES, TENSORS - MATRICES));

        // The embeddings are the last matrix but those of the decoder's layers.
        let table = file.tensor("language_model.model.embed_tokens.weight").unwrap();
        let [outputs, inputs] = [table.shape()[0], table.shape()[1]];
        let numbers: Vec<f32> =
            table.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        let row = |row: usize, out: &mut [f32]| {
            out.copy_from_slice(&numbers[row * inputs..][..inputs]);
        };
        let expected = PackedLayout { format, outputs, inputs }.pack(row).unwrap();
        assert!(packed.iter().any(|bytes| bytes == &expected.as_ref()[..bytes.len()]));
    }
}

#[test]
fn a_converted_file_maps_into_the_same_module() {
    let checkpoint = Checkpoint::open(golden("hf_v452")).unwrap();
    let shapes = parameter_shapes::<Flex, _>(&tiny());
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), format).unwrap();
        let converted = Checkpoint::open(folder.path()).unwrap();
        assert_eq!(converted.packed_format(), Some(format));
        assert_eq!(converted.layout().name, "published");
        let (direct, mapped) = (load(&checkpoint, format), load(&converted, format));
        let (direct, mapped) = (direct.unwrap(), mapped.unwrap());
        assert!(matrices(&direct) == matrices(&mapped) && values(&direct) == values(&mapped));
        // Shapes are the published ones, and so are the files beside the weights.
        for tensor in converted.tensors() {
            let path = tensor.module_path.unwrap();
            assert!(shapes.contains(&(path.clone(), tensor.shape)), "{path}");
            let is_packed = tensor.elements == Elements::Packed(format);
            assert!(is_packed || tensor.elements == Elements::Float(FloatDType::F32));
        }
        assert_eq!(other_files(folder.path()).unwrap(), other_files(&golden("published")).unwrap());

        let file = fs::read(folder.path().join("model.safetensors")).unwrap();
        let (length, header) = SafeTensors::read_metadata(&file).unwrap();
        let data = size_of::<u64>() + length;
        for (name, info) in header.tensors() {
            let packed = info.dtype == Dtype::U8;
            assert!(!packed || (data + info.data_offsets.0).is_multiple_of(64), "{name}");
        }
        let again = tempfile::tempdir().unwrap();
        write(again.path(), format).unwrap();
        assert!(file == fs::read(again.path().join("model.safetensors")).unwrap());
    }
}

#[test]
fn packed_matrices_are_no_floats_and_of_one_format() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), PackedFormat::Int8).unwrap();
    let converted = Checkpoint::open(folder.path()).unwrap();
    let dense = load_module::<Flex, _>(tiny(), &converted, "", None).err().unwrap();
    assert_says(&dense, &["weight`", "packed as int8", "model.safetensors"]);
    let other = load(&converted, PackedFormat::Int4).err().unwrap();
    assert_says(&other, &["packed as int8"]);
    let out = tempfile::tempdir().unwrap();
    let twice = convert::<Flex, _>(tiny(), &converted, PackedFormat::Int8, &[], out.path(), |_| ());
    assert_says(&twice.unwrap_err(), &["packed as int8 already"]);
}

#[test]
fn the_header_of_packed_matrices_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), PackedFormat::Int8).unwrap();
    let file = fs::read(folder.path().join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let (_, header) = SafeTensors::read_metadata(&file).unwrap();
    let entry = header.metadata().as_ref().unwrap()["packed"].clone();
    let refuse = |entry: Option<String>| {
        let metadata = entry.map(|entry| [("packed".to_owned(), entry)].into());
        Checkpoint::from_bytes(serialize(tensors.tensors(), metadata).unwrap()).unwrap_err()
    };
    assert_says(&refuse(None), &["U8", "F32, F16 or BF16"]);
    assert_says(&refuse(Some("{}".to_owned())), &["cannot read the names", "format"]);
    let version = format!("\"version\":{VERSION}");
    let newer = refuse(Some(entry.replace(&version, "\"version\":4000000000")));
    assert_says(&newer, &["int8 version 4000000000", "convert"]);
    assert_says(&refuse(Some(entry.replace("int8", "int3"))), &["int3 version", "convert"]);
    let huge = format!("[{},{}]", u64::MAX / 2, 3);
    for shape in ["[320,49000]", "[0,0]", &huge, "[4294967296,4294967296]"] {
        let lying = entry.replace("[320,48]", shape);
        assert_ne!(lying, entry);
        assert_says(&refuse(Some(lying)), &["embed_tokens", "packed shape", "convert"]);
    }
    assert_says(&refuse(Some(entry.replace(GATE, "other"))), &[GATE, "packed shape"]);
}

#[test]
fn what_cannot_be_packed_is_named() {
    let file = published_weights();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let gate = tensors.tensor(GATE).unwrap();
    let mut data = gate.data().to_vec();
    let shape = gate.shape().to_vec();
    for (value, formats) in
        [(f32::NAN, &FORMATS[..]), (f32::NEG_INFINITY, &FORMATS[..]), (1e6, &[PackedFormat::Int4])]
    {
        data[4 * (shape[1] + 5)..][..4].copy_from_slice(&value.to_le_bytes());
        let changed = changed_weights(&file, |tensors| {
            let tensor = TensorView::new(Dtype::F32, shape.clone(), &data).unwrap();
            tensors.insert(GATE.to_owned(), tensor);
        });
        let checkpoint = Checkpoint::from_bytes(changed.clone()).unwrap();
        for &format in formats {
            let error = load(&checkpoint, format).err().unwrap();
            let at = "row 1, column 5";
            assert_says(&error, &["cannot pack", GATE, "(memory)", at, &format.to_string()]);
            let folder = tempfile::tempdir().unwrap();
            let out = folder.path().join("out");
            let error = convert::<Flex, _>(tiny(), &checkpoint, format, &[], &out, |_| ());
            assert_says(&error.unwrap_err(), &["cannot pack", GATE]);
            assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "nothing is half-written");
        }
    }
}
