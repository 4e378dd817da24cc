//! Checkpoints of big_vision, the code that PaliGemma was trained with: an npz whose arrays hold a
//! matrix of every layer, with axes of their own for heads.
//!
//! Source: `big_vision/models/vit.py` and `big_vision/models/ppp/gemma.py`; the way to the published
//! names is that of transformers' `convert_paligemma_weights_to_hf.py` and
//! `convert_paligemma2_weights_to_hf.py` (commit 15ea02a).

use std::collections::BTreeMap;
use std::io::{self, Seek, Write};

use burn::tensor::DType;
use safetensors::Dtype;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{TensorProblem, npz};
use crate::checkpoint::Elements;
use crate::config::PaliGemmaConfig;
use crate::order::Order;
use crate::save::SaveError;
use crate::source::{SourceError, SourceTensor};
use crate::write::Pending;

/// What names of arrays may begin with, when optimisers were saved too.
const PARAMETERS: &str = "params/";

/// An array and what is in it.
struct Array {
    name: &'static str,
    /// The array's axes for one tensor, after those of layers and of several tensors.
    axes: &'static str,
    /// The tensor's axes, of which those in brackets are one.
    tensor: &'static str,
    /// The tensors by their paths in the modules; `{}` stands for a layer.
    holds: &'static [&'static str],
}

const fn array(
    name: &'static str,
    axes: &'static str,
    tensor: &'static str,
    holds: &'static [&'static str],
) -> Array {
    Array { name, axes, tensor, holds }
}

/// Arrays of both generations. Widths are d and p, a head's k, heads h, inner m, positions n.
const BOTH: [Array; 29] = [
    array(
        "img/embedding/kernel",
        "y x c d",
        "d c y x",
        &["vision_tower.embeddings.patch_embedding.weight"],
    ),
    array("img/embedding/bias", "d", "d", &["vision_tower.embeddings.patch_embedding.bias"]),
    array(
        "img/pos_embedding",
        "1 n d",
        "(1 n) d",
        &["vision_tower.embeddings.position_embedding.weight"],
    ),
    array(
        "img/Transformer/encoderblock/LayerNorm_0/scale",
        "d",
        "d",
        &["vision_tower.encoder.layers.{}.layer_norm1.weight"],
    ),
    array(
        "img/Transformer/encoderblock/LayerNorm_0/bias",
        "d",
        "d",
        &["vision_tower.encoder.layers.{}.layer_norm1.bias"],
    ),
    array(
        "img/Transformer/encoderblock/LayerNorm_1/scale",
        "d",
        "d",
        &["vision_tower.encoder.layers.{}.layer_norm2.weight"],
    ),
    array(
        "img/Transformer/encoderblock/LayerNorm_1/bias",
        "d",
        "d",
        &["vision_tower.encoder.layers.{}.layer_norm2.bias"],
    ),
    array(
        "img/Transformer/encoderblock/MlpBlock_0/Dense_0/kernel",
        "d m",
        "m d",
        &["vision_tower.encoder.layers.{}.mlp.fc1.weight"],
    ),
    array(
        "img/Transformer/encoderblock/MlpBlock_0/Dense_0/bias",
        "m",
        "m",
        &["vision_tower.encoder.layers.{}.mlp.fc1.bias"],
    ),
    array(
        "img/Transformer/encoderblock/MlpBlock_0/Dense_1/kernel",
        "m d",
        "d m",
        &["vision_tower.encoder.layers.{}.mlp.fc2.weight"],
    ),
    array(
        "img/Transformer/encoderblock/MlpBlock_0/Dense_1/bias",
        "d",
        "d",
        &["vision_tower.encoder.layers.{}.mlp.fc2.bias"],
    ),
    array(
        "img/Transformer/encoderblock/MultiHeadDotProductAttention_0/query/kernel",
        "d h k",
        "(h k) d",
        &["vision_tower.encoder.layers.{}.self_attn.q_proj.weight"],
    ),
    array(
        "img/Transformer/encoderblock/MultiHeadDotProductAttention_0/query/bias",
        "h k",
        "(h k)",
        &["vision_tower.encoder.layers.{}.self_attn.q_proj.bias"],
    ),
    array(
        "img/Transformer/encoderblock/MultiHeadDotProductAttention_0/key/kernel",
        "d h k",
        "(h k) d",
        &["vision_tower.encoder.layers.{}.self_attn.k_proj.weight"],
    ),
    array(
        "img/Transformer/encoderblock/MultiHeadDotProductAttention_0/key/bias",
        "h k",
        "(h k)",
        &["vision_tower.encoder.layers.{}.self_attn.k_proj.bias"],
    ),
    array(
        "img/Transformer/encoderblock/MultiHeadDotProductAttention_0/value/kernel",
        "d h k",
        "(h k) d",
        &["vision_tower.encoder.layers.{}.self_attn.v_proj.weight"],
    ),
    array(
        "img/Transformer/encoderblock/MultiHeadDotProductAttention_0/value/bias",
        "h k",
        "(h k)",
        &["vision_tower.encoder.layers.{}.self_attn.v_proj.bias"],
    ),
    array(
        "img/Transformer/encoderblock/MultiHeadDotProductAttention_0/out/kernel",
        "h k d",
        "d (h k)",
        &["vision_tower.encoder.layers.{}.self_attn.out_proj.weight"],
    ),
    array(
        "img/Transformer/encoderblock/MultiHeadDotProductAttention_0/out/bias",
        "d",
        "d",
        &["vision_tower.encoder.layers.{}.self_attn.out_proj.bias"],
    ),
    array("img/Transformer/encoder_norm/scale", "d", "d", &["vision_tower.post_layernorm.weight"]),
    array("img/Transformer/encoder_norm/bias", "d", "d", &["vision_tower.post_layernorm.bias"]),
    array("img/head/kernel", "d p", "p d", &["multi_modal_projector.linear.weight"]),
    array("img/head/bias", "p", "p", &["multi_modal_projector.linear.bias"]),
    array("llm/embedder/input_embedding", "v d", "v d", &["language_model.embed_tokens.weight"]),
    array(
        "llm/layers/attn/q_einsum/w",
        "h d k",
        "(h k) d",
        &["language_model.layers.{}.self_attn.q_proj.weight"],
    ),
    array(
        "llm/layers/attn/kv_einsum/w",
        "h d k",
        "(h k) d",
        &[
            "language_model.layers.{}.self_attn.k_proj.weight",
            "language_model.layers.{}.self_attn.v_proj.weight",
        ],
    ),
    array(
        "llm/layers/attn/attn_vec_einsum/w",
        "h k d",
        "d (h k)",
        &["language_model.layers.{}.self_attn.o_proj.weight"],
    ),
    array(
        "llm/layers/mlp/gating_einsum",
        "d m",
        "m d",
        &[
            "language_model.layers.{}.mlp.gate_proj.weight",
            "language_model.layers.{}.mlp.up_proj.weight",
        ],
    ),
    array(
        "llm/layers/mlp/linear",
        "m d",
        "d m",
        &["language_model.layers.{}.mlp.down_proj.weight"],
    ),
];

/// The norms of PaliGemma's layers.
const NORMS_1: [Array; 3] = [
    array(
        "llm/layers/pre_attention_norm/scale",
        "d",
        "d",
        &["language_model.layers.{}.input_layernorm.weight"],
    ),
    array(
        "llm/layers/pre_ffw_norm/scale",
        "d",
        "d",
        &["language_model.layers.{}.post_attention_layernorm.weight"],
    ),
    array("llm/final_norm/scale", "d", "d", &["language_model.norm.weight"]),
];

/// Those of PaliGemma 2's, two of which others have the names of.
const NORMS_2: [Array; 5] = [
    array(
        "llm/layers/pre_attention_norm/scale",
        "d",
        "d",
        &["language_model.layers.{}.input_layernorm.weight"],
    ),
    array(
        "llm/layers/post_attention_norm/scale",
        "d",
        "d",
        &["language_model.layers.{}.post_attention_layernorm.weight"],
    ),
    array(
        "llm/layers/pre_ffw_norm/scale",
        "d",
        "d",
        &["language_model.layers.{}.pre_feedforward_layernorm.weight"],
    ),
    array(
        "llm/layers/post_ffw_norm/scale",
        "d",
        "d",
        &["language_model.layers.{}.post_feedforward_layernorm.weight"],
    ),
    array("llm/final_norm/scale", "d", "d", &["language_model.norm.weight"]),
];

/// The arrays of a generation.
fn arrays(post_norms: bool) -> impl Iterator<Item = &'static Array> {
    let norms: &[Array] = if post_norms { &NORMS_2 } else { &NORMS_1 };
    BOTH.iter().chain(norms)
}

/// Whether arrays of these names are a PaliGemma of big_vision.
pub(crate) fn fits(tensors: &[SourceTensor]) -> bool {
    let is_known = |tensor: &SourceTensor| arrays(false).any(|array| array.name == short(tensor));
    tensors.iter().any(is_known)
}

fn short(tensor: &SourceTensor) -> &str {
    tensor.name.strip_prefix(PARAMETERS).unwrap_or(&tensor.name)
}

/// The tensors in these arrays, with their paths in the modules; arrays that are none of PaliGemma's
/// stay as they are.
pub(crate) fn take_apart(found: Vec<SourceTensor>) -> Result<Vec<SourceTensor>, SourceError> {
    let post_norms = found.iter().any(|tensor| short(tensor) == "llm/layers/post_ffw_norm/scale");
    let mut tensors = Vec::new();
    for tensor in found {
        match arrays(post_norms).find(|array| array.name == short(&tensor)) {
            Some(array) => tensors.extend(array.take_apart(&tensor)?),
            None => tensors.push(tensor),
        }
    }
    Ok(tensors)
}

impl Array {
    /// The axes of the array for one tensor, and those of the tensor: each some of the former.
    fn axes(&self) -> (Vec<&'static str>, Vec<Vec<&'static str>>) {
        let mut axes: Vec<Vec<&str>> = Vec::new();
        let mut open = false;
        for word in self.tensor.split(' ') {
            let axis = word.trim_matches(['(', ')']);
            match axes.last_mut() {
                Some(group) if open => group.push(axis),
                _ => axes.push(vec![axis]),
            }
            open = (open || word.starts_with('(')) && !word.ends_with(')');
        }
        (self.axes.split(' ').collect(), axes)
    }

    fn is_of_layers(&self) -> bool {
        self.holds[0].contains("{}")
    }

    fn take_apart(&self, array: &SourceTensor) -> Result<Vec<SourceTensor>, SourceError> {
        let (axes, groups) = self.axes();
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
        if lengths.len() != axes.len() || several != self.holds.len() {
            return Err(SourceError::Tensor {
                path: array.path.clone(),
                tensor: array.name.clone(),
                problem: TensorProblem::Axes { found: array.shape.clone() },
            });
        }
        let place = |axis: &&str| axes.iter().position(|other| other == axis).unwrap_or_default();
        let in_order: Vec<usize> = groups.iter().flatten().map(place).collect();
        let order = Order::new(lengths, &in_order);
        let length = |group: &Vec<&str>| group.iter().map(|axis| lengths[place(axis)]).product();
        let shape: Vec<usize> = groups.iter().map(length).collect();

        let bytes = array.data.len() / (layers * several).max(1);
        let part = |number: usize| {
            let (layer, which) = (number / several, number % several);
            let start = number * bytes;
            SourceTensor {
                name: self.name_of(&array.name, layer, which),
                module_path: Some(self.holds[which].replace("{}", &layer.to_string())),
                shape: shape.clone(),
                data: array.data.slice(start..start + bytes),
                order: (!order.is_plain()).then(|| order.clone()),
                ..array.clone()
            }
        };
        Ok((0..layers * several).map(part).collect())
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
        let (axes, groups) = self.axes();
        let first = parts.first();
        let shape = first.map_or(&[][..], |part| &part.shape);
        let dtype = first.map_or(Dtype::F32, |part| part.dtype);
        if let Some(other) = parts.iter().find(|part| part.dtype != dtype) {
            return Err(SaveError::Mixed { tensor: other.name.clone() });
        }
        // Of two axes that are one, the length of the second is known, or that of the first.
        let known = |axis: &str| match axis {
            "k" => Some(width),
            "1" => Some(1),
            _ => None,
        };
        let mut lengths: BTreeMap<&str, usize> = BTreeMap::new();
        for (group, &length) in groups.iter().zip(shape) {
            let rest: usize = group.iter().filter_map(|axis| known(axis)).product();
            for axis in group {
                lengths.insert(axis, known(axis).unwrap_or(length / rest.max(1)));
            }
        }
        let length = |axis: &&str| lengths.get(axis).copied().unwrap_or(1);
        let flat: Vec<&str> = groups.iter().flatten().copied().collect();
        let place = |axis: &&str| flat.iter().position(|other| other == axis).unwrap_or_default();
        let in_tensor: Vec<usize> = flat.iter().map(length).collect();
        let in_file: Vec<usize> = axes.iter().map(place).collect();

        let (layers, several) = (parts.len() / self.holds.len(), self.holds.len());
        let leading = [(self.is_of_layers(), layers), (several > 1, several)];
        let leading = leading.iter().filter(|(is_there, _)| *is_there).map(|(_, length)| *length);
        Ok(Stacked {
            name: self.name,
            shape: leading.chain(axes.iter().map(length)).collect(),
            dtype,
            order: Order::new(&in_tensor, &in_file),
            parts,
        })
    }
}

/// An array to be written, whose parts are read when it is their turn.
struct Stacked<'a> {
    name: &'static str,
    shape: Vec<usize>,
    dtype: Dtype,
    /// Of every part, from the tensor's axes to the array's.
    order: Order,
    parts: Vec<Pending<'a>>,
}

/// Writes tensors that are called by their paths in the modules.
pub(crate) fn write(
    out: &mut (impl Write + Seek),
    tensors: Vec<Pending<'_>>,
    config: &PaliGemmaConfig,
    failed: impl Fn(io::Error) -> SaveError,
) -> Result<(), SaveError> {
    let mut archive = ZipWriter::new(out);
    let stored =
        SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
    for Stacked { name, shape, dtype, order, parts } in stacked(tensors, config)? {
        let begun = archive.start_file(format!("{name}.npy"), stored);
        begun.map_err(|cause| failed(cause.into()))?;
        npz::write_header(&mut archive, dtype, &shape).map_err(&failed)?;
        for part in parts {
            let bytes = (part.read)()?;
            let written = if order.is_plain() {
                archive.write_all(&bytes)
            } else {
                archive.write_all(&order.sorted(&bytes, dtype.bitsize() / 8))
            };
            written.map_err(&failed)?;
        }
    }
    archive.finish().map(drop).map_err(|cause| failed(cause.into()))
}

fn stacked<'a>(
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
            for path in array.holds {
                let path = path.replace("{}", &layer.to_string());
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
