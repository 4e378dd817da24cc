//! Files of `torch.save`: a zip archive of a pickle, which describes the tensors, and of their
//! storages, which are used where they lie.
//!
//! Format: `torch/serialization.py` and `torch/_utils.py` of `PyTorch` 2, the form of 1.6 and later.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Seek, Write};
use std::path::Path;

use burn::tensor::{DType, FloatDType};
use bytes::Bytes;
use safetensors::Dtype;

use super::archive::{Archive, Entry};
use super::pickle::{Place, Value, Values};
use super::zip_writer::StoredZip;
use super::{MOST_AXES, TensorProblem};
use crate::checkpoint::Elements;
use crate::save::SaveError;
use crate::source::{SourceError, SourceTensor};
use crate::write::Pending;

/// The entry of an archive that describes the tensors, below the folder that all are in.
const PICKLE: &str = "/data.pkl";
/// The entry that says in which order the bytes of numbers are, and what it says of ours.
const ORDER: &str = "/byteorder";
const LITTLE: &[u8] = b"little";

/// The storages of tensors, by what pickles call their classes.
const STORAGES: [(&str, FloatDType, Dtype); 3] = [
    ("torch FloatStorage", FloatDType::F32, Dtype::F32),
    ("torch HalfStorage", FloatDType::F16, Dtype::F16),
    ("torch BFloat16Storage", FloatDType::BF16, Dtype::BF16),
];

/// The description of the tensors in an archive; none if it is no file of `torch.save`.
pub(crate) fn description(archive: &Archive<'_>) -> Option<Entry> {
    archive.entries.iter().find(|entry| entry.name.ends_with(PICKLE)).cloned()
}

/// The tensors of an archive that has a `description`; `path` is what errors call it.
pub(crate) fn parse(
    path: &Path,
    archive: &Archive<'_>,
    description: &Entry,
) -> Result<Vec<SourceTensor>, SourceError> {
    let failed = |tensor: &str, problem| SourceError::Tensor {
        path: path.to_owned(),
        tensor: tensor.to_owned(),
        problem,
    };
    let stored = |entry: &Entry| archive.stored(entry).map_err(|cause| failed(&entry.name, cause));
    let folder = description.name.strip_suffix(PICKLE).unwrap_or_default();
    let in_folder =
        |entry: &Entry| Some((entry.name.strip_prefix(folder)?.to_owned(), entry.clone()));
    let entries: HashMap<String, Entry> = archive.entries.iter().filter_map(in_folder).collect();
    if let Some(order) = entries.get(ORDER)
        && stored(order)? != LITTLE
    {
        return Err(failed(&order.name, TensorProblem::ByteOrder));
    }
    let unsound = |problem| SourceError::Pickle { path: path.to_owned(), problem };
    let (values, top) = Values::read(&stored(description)?).map_err(unsound)?;
    let named =
        tensors(&values, top).ok_or_else(|| SourceError::NoTensors { path: path.to_owned() })?;
    let (mut found, mut names) = (Vec::with_capacity(named.len()), BTreeSet::new());
    for (name, place) in named {
        if !names.insert(name) {
            return Err(SourceError::Twice { path: path.to_owned(), tensor: name.to_owned() });
        }
        let read = |described: Described| {
            let entry = entries.get(&format!("/data/{}", described.storage));
            let storage = archive.stored(entry.ok_or(TensorProblem::Storage)?)?;
            described.read(&storage)
        };
        let (shape, elements, data) =
            tensor(&values, place).and_then(read).map_err(|problem| failed(name, problem))?;
        let tensor = SourceTensor::new(name.to_owned(), path, shape, data);
        found.push(SourceTensor { elements, ..tensor });
    }
    Ok(found)
}

/// The names and places of tensors: those of the dictionary itself, or of its `state_dict`.
fn tensors(values: &Values, top: Place) -> Option<Vec<(&str, Place)>> {
    let entries = |place| match values.get(place) {
        Value::Dictionary(pairs) => pairs
            .iter()
            .map(|[key, value]| match values.get(*key) {
                Value::Text(key) => Some((key.as_str(), *value)),
                _ => None,
            })
            .collect::<Option<Vec<_>>>(),
        _ => None,
    };
    let outer = entries(top)?;
    match outer.iter().find(|(name, _)| *name == "state_dict") {
        Some((_, inner)) => entries(*inner),
        None => Some(outer),
    }
}

/// What a pickle says of a tensor.
struct Described {
    /// The name of its storage in the archive.
    storage: String,
    dtype: FloatDType,
    /// Elements of the storage before the first.
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

fn tensor(values: &Values, mut place: Place) -> Result<Described, TensorProblem> {
    let mut arguments = made(values, place).ok_or(TensorProblem::NotATensor)?;
    if arguments.0 == "torch._utils _rebuild_parameter" {
        place = *arguments.1.first().ok_or(TensorProblem::NotATensor)?;
        arguments = made(values, place).ok_or(TensorProblem::NotATensor)?;
    }
    let ("torch._utils _rebuild_tensor_v2", [storage, offset, shape, strides, ..]) = arguments
    else {
        return Err(TensorProblem::NotATensor);
    };
    let described = || {
        let Value::Persistent(storage) = values.get(*storage) else { return None };
        let Value::Tuple(storage) = values.get(*storage) else { return None };
        let [_, class, key, ..] = storage[..] else { return None };
        let (Value::Name(class), Value::Text(key)) = (values.get(class), values.get(key)) else {
            return None;
        };
        let [shape, strides] = [shape, strides].map(|place| numbers(values, *place));
        Some((class.clone(), key.clone(), number(values, *offset)?, shape?, strides?))
    };
    let (class, storage, offset, shape, strides) = described().ok_or(TensorProblem::NotATensor)?;
    let dtype = STORAGES.iter().find(|(name, ..)| *name == class).map(|(_, dtype, _)| *dtype);
    let dtype = dtype.ok_or(TensorProblem::Dtype(class))?;
    Ok(Described { storage, dtype, offset, shape, strides })
}

/// The function that makes a value, and the arguments.
fn made(values: &Values, place: Place) -> Option<(&str, &[Place])> {
    let Value::Made { by, of } = values.get(place) else { return None };
    let (Value::Name(by), Value::Tuple(of)) = (values.get(*by), values.get(*of)) else {
        return None;
    };
    Some((by, of))
}

fn number(values: &Values, place: Place) -> Option<usize> {
    match values.get(place) {
        Value::Integer(number) => usize::try_from(*number).ok(),
        _ => None,
    }
}

fn numbers(values: &Values, place: Place) -> Option<Vec<usize>> {
    let Value::Tuple(places) = values.get(place) else { return None };
    if places.len() > MOST_AXES {
        return None;
    }
    places.iter().map(|place| number(values, *place)).collect()
}

impl Described {
    fn read(self, storage: &Bytes) -> Result<(Vec<usize>, Elements, Bytes), TensorProblem> {
        let Self { dtype, offset, shape, strides, .. } = self;
        if !is_contiguous(&shape, &strides) {
            return Err(TensorProblem::Strides);
        }
        let size = DType::from(dtype).size();
        let count = shape.iter().try_fold(1, |count: usize, axis| count.checked_mul(*axis));
        let start = offset.checked_mul(size);
        let length = count.and_then(|count| count.checked_mul(size));
        let end = start.zip(length).and_then(|(start, length)| start.checked_add(length));
        let (Some(start), Some(end)) = (start, end.filter(|end| *end <= storage.len())) else {
            let expected = end.unwrap_or(usize::MAX);
            return Err(TensorProblem::Length { expected, found: storage.len() });
        };
        Ok((shape, Elements::Float(dtype), storage.slice(start..end)))
    }
}

/// Whether elements follow each other row by row; along an axis of one element there is no step.
fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut step = 1_usize;
    let along = |(&length, &stride): (&usize, &usize)| {
        let fits = length <= 1 || stride == step;
        step = step.saturating_mul(length);
        fits
    };
    shape.len() == strides.len() && shape.iter().zip(strides).rev().all(along)
}

/// Writes tensors as `torch.save` does a dictionary of them.
pub(crate) fn write(
    out: &mut (impl Write + Seek),
    tensors: Vec<Pending<'_>>,
    failed: &dyn Fn(io::Error) -> SaveError,
) -> Result<(), SaveError> {
    const FOLDER: &str = "pytorch_model";
    let mut archive = StoredZip::new(out);
    let mut entry = |name: &str, contents: &[u8]| {
        let length = contents.len() as u64;
        let write = |sink: &mut dyn Write| sink.write_all(contents).map_err(failed);
        archive.entry(&format!("{FOLDER}{name}"), length, &failed, |sink| write(sink))
    };
    entry(PICKLE, &pickle(&tensors))?;
    entry(ORDER, LITTLE)?;
    for (number, tensor) in tensors.into_iter().enumerate() {
        entry(&format!("/data/{number}"), &(tensor.read)()?)?;
    }
    entry("/version", b"3\n")?;
    archive.finish().map_err(failed)
}

/// An ordered dictionary of tensors, each with a storage of its own.
fn pickle(tensors: &[Pending<'_>]) -> Vec<u8> {
    const DICTIONARY: &[u8] = b"ccollections\nOrderedDict\n)R";
    let mut out = [b"\x80\x02", DICTIONARY, b"("].concat();
    for (number, tensor) in tensors.iter().enumerate() {
        let class = STORAGES.iter().find(|(.., dtype)| *dtype == tensor.dtype);
        let class = class.map_or(STORAGES[0].0, |(name, ..)| name).replace(' ', "\n");
        text(&mut out, &tensor.name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend([b"c", class.as_bytes(), b"\n"].concat());
        text(&mut out, &number.to_string());
        text(&mut out, "cpu");
        integer(&mut out, tensor.shape.iter().product());
        // No elements before the first.
        out.extend(b"tQK\x00");
        tuple(&mut out, tensor.shape.iter().copied());
        let rows = (1..=tensor.shape.len()).map(|axis| tensor.shape[axis..].iter().product());
        tuple(&mut out, rows);
        // Not trained, and without hooks.
        out.extend([b"\x89", DICTIONARY, b"tR"].concat());
    }
    out.extend(b"u.");
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

fn integer(out: &mut Vec<u8>, number: usize) {
    if let Ok(number) = i32::try_from(number) {
        out.push(b'J');
        out.extend(number.to_le_bytes());
    } else {
        out.extend([0x8a, 8]);
        out.extend((number as i64).to_le_bytes());
    }
}

fn tuple(out: &mut Vec<u8>, numbers: impl Iterator<Item = usize>) {
    out.push(b'(');
    numbers.for_each(|number| integer(out, number));
    out.push(b't');
}
