//! Checkpoints of big_vision, the code that PaliGemma was trained with: an npz whose arrays hold a
//! matrix of every layer, with axes of their own for heads.

mod arrays;

use std::collections::BTreeMap;
use std::io::{self, Seek, Write};

use burn::tensor::DType;
use safetensors::Dtype;

use self::arrays::{Array, arrays, is_second};
use super::zip_writer::StoredZip;
use super::{TensorProblem, npz};
use crate::checkpoint::Elements;
use crate::config::{MAX_COUNT, PaliGemmaConfig};
use crate::layout::BIG_VISION_LAYOUT;
use crate::order::Order;
use crate::save::SaveError;
use crate::source::{SourceError, SourceTensor};
use crate::write::Pending;

/// What names of arrays may begin with.
const PARAMETERS: &str = "params/";

/// Whether arrays of these names are a PaliGemma of big_vision.
pub(crate) fn fits(tensors: &[SourceTensor]) -> bool {
    let known = arrays(false);
    tensors.iter().any(|tensor| known.iter().any(|array| array.name == short(tensor)))
}

fn short(tensor: &SourceTensor) -> &str {
    tensor.name.strip_prefix(PARAMETERS).unwrap_or(&tensor.name)
}

/// The tensors in these arrays, with their paths in the modules; arrays that are none of PaliGemma's
/// stay as they are.
pub(crate) fn take_apart(found: Vec<SourceTensor>) -> Result<Vec<SourceTensor>, SourceError> {
    let known = arrays(found.iter().any(|tensor| is_second(short(tensor))));
    let mut tensors = Vec::new();
    for tensor in found {
        match known.iter().find(|array| array.name == short(&tensor)) {
            Some(array) => tensors.extend(array.take_apart(&tensor)?),
            None => tensors.push(tensor),
        }
    }
    Ok(tensors)
}

/// Where each of some axes stands among others.
fn places<'a>(axes: impl IntoIterator<Item = &'a &'a str>, among: &[&str]) -> Vec<usize> {
    let place = |axis: &&str| among.iter().position(|other| other == axis).unwrap_or_default();
    axes.into_iter().map(place).collect()
}

impl Array {
    fn is_of_layers(&self) -> bool {
        self.holds[0].contains("{}")
    }

    fn take_apart(&self, array: &SourceTensor) -> Result<Vec<SourceTensor>, SourceError> {
        let mut lengths = array.shape.as_slice();
        let mut leading = |is_there: bool| match lengths {
            [first, others @ ..] if is_there => {
                lengths = others;
                *first
            }
            _ => 1,
        };
        let layers = leading(self.is_of_layers());
        let several = leading(self.holds.len() > 1);
        let is_whole = lengths.len() == self.axes.len() && several == self.holds.len();
        // Of nothing, or of next to nothing, there may be any number of layers.
        if !is_whole || array.data.is_empty() || layers > MAX_COUNT {
            return Err(SourceError::Tensor {
                path: array.path.clone(),
                tensor: array.name.clone(),
                problem: TensorProblem::Axes { found: array.shape.clone() },
            });
        }
        let order = Order::new(lengths, &places(self.tensor.iter().flatten(), &self.axes));
        let merged = |group: &Vec<&str>| {
            places(group, &self.axes).into_iter().map(|place| lengths[place]).product()
        };
        let shape: Vec<usize> = self.tensor.iter().map(merged).collect();

        let bytes = array.data.len() / (layers * several).max(1);
        let part = |number: usize| {
            let (layer, which) = (number / several, number % several);
            let start = number * bytes;
            SourceTensor {
                name: self.name_of(&array.name, layer, which),
                known: Some((&BIG_VISION_LAYOUT, self.path(layer, which))),
                shape: shape.clone(),
                data: array.data.slice(start..start + bytes),
                order: (!order.is_plain()).then(|| order.clone()),
                ..array.clone()
            }
        };
        Ok((0..layers * several).map(part).collect())
    }

    /// The path in the modules of one of the array's tensors.
    fn path(&self, layer: usize, which: usize) -> String {
        self.holds[which].replace("{}", &layer.to_string())
    }

    /// One of the array's tensors as numpy would index it.
    fn name_of(&self, array: &str, layer: usize, which: usize) -> String {
        match (self.is_of_layers(), self.holds.len()) {
            (false, _) => array.to_owned(),
            (true, 1) => format!("{array}[{layer}]"),
            (true, _) => format!("{array}[{layer}, {which}]"),
        }
    }

    /// The array that holds these tensors, all layers of a kind in order, where a head has `width`.
    fn put_together<'a>(
        &self,
        parts: Vec<Pending<'a>>,
        width: usize,
    ) -> Result<Stacked<'a>, SaveError> {
        let first = parts.first();
        let shape = first.map_or(&[][..], |part| &part.shape);
        let dtype = first.map_or(Dtype::F32, |part| part.dtype);
        if let Some(other) = parts.iter().find(|part| part.dtype != dtype) {
            return Err(SaveError::Mixed { tensor: other.name.clone() });
        }
        // Of two axes that are one, the length of one is known.
        let known = |axis: &str| match axis {
            "k" => Some(width),
            "1" => Some(1),
            _ => None,
        };
        let mut lengths = Vec::new();
        for (group, &length) in self.tensor.iter().zip(shape) {
            let rest: usize = group.iter().filter_map(|axis| known(axis)).product();
            lengths.extend(group.iter().map(|axis| known(axis).unwrap_or(length / rest.max(1))));
        }
        let in_file = places(&self.axes, &self.tensor.concat());

        let (layers, several) = (parts.len() / self.holds.len(), self.holds.len());
        let leading = [(self.is_of_layers(), layers), (several > 1, several)];
        let leading = leading.iter().filter(|(is_there, _)| *is_there).map(|(_, length)| *length);
        Ok(Stacked {
            name: self.name.clone(),
            shape: leading.chain(in_file.iter().map(|place| lengths[*place])).collect(),
            dtype,
            order: Order::new(&lengths, &in_file),
            parts,
        })
    }
}

/// An array to be written, whose parts are read when it is their turn.
pub(crate) struct Stacked<'a> {
    name: String,
    shape: Vec<usize>,
    dtype: Dtype,
    /// Of every part, from the tensor's axes to the array's.
    order: Order,
    parts: Vec<Pending<'a>>,
}

/// Writes arrays.
pub(crate) fn write(
    out: &mut (impl Write + Seek),
    arrays: Vec<Stacked<'_>>,
    failed: &dyn Fn(io::Error) -> SaveError,
) -> Result<(), SaveError> {
    let mut archive = StoredZip::new(out);
    for Stacked { name, shape, dtype, order, parts } in arrays {
        let header = npz::header(dtype, &shape);
        let elements: usize = parts.iter().map(Pending::bytes).sum();
        let length = (header.len() + elements) as u64;
        archive.entry(&format!("{name}.npy"), length, &failed, |sink| {
            sink.write_all(&header).map_err(failed)?;
            for part in parts {
                let bytes = (part.read)()?;
                let written = if order.is_plain() {
                    sink.write_all(&bytes)
                } else {
                    sink.write_all(&order.sorted(&bytes, dtype.bitsize() / 8))
                };
                written.map_err(failed)?;
            }
            Ok(())
        })?;
    }
    archive.finish().map_err(failed)
}

/// The arrays that hold these tensors, which are called by their paths in the modules.
pub(crate) fn stacked<'a>(
    tensors: Vec<Pending<'a>>,
    config: &PaliGemmaConfig,
) -> Result<Vec<Stacked<'a>>, SaveError> {
    let mut tensors: BTreeMap<String, Pending<'a>> =
        tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
    let (text, vision) = (&config.text, &config.vision);
    let mut found = Vec::new();
    for array in arrays(text.post_norms) {
        let is_vision = array.name.starts_with("img/");
        let layers = match (array.is_of_layers(), is_vision) {
            (false, _) => 1,
            (true, true) => vision.num_hidden_layers,
            (true, false) => text.num_hidden_layers,
        };
        let mut parts = Vec::with_capacity(layers * array.holds.len());
        for layer in 0..layers {
            for which in 0..array.holds.len() {
                let path = array.path(layer, which);
                parts.push(tensors.remove(&path).ok_or(SaveError::Name { path })?);
            }
        }
        let vision_width = vision.hidden_size / vision.num_attention_heads;
        let width = if is_vision { vision_width } else { text.head_dim };
        found.push(array.put_together(parts, width)?);
    }
    match tensors.into_keys().next() {
        Some(path) => Err(SaveError::Name { path }),
        None => Ok(found),
    }
}

impl SourceTensor {
    /// Bytes of an element; packed matrices have none of their own.
    pub(crate) fn element(&self) -> usize {
        match self.elements {
            Elements::Float(dtype) => DType::from(dtype).size(),
            Elements::Packed(_) => 1,
        }
    }
}
