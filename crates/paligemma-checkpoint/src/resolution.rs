//! A checkpoint for pictures of another size: its position table, and the files that tell a size.

use burn::tensor::{DType, TensorData};
use paligemma_siglip::{PositionFilter, resample_positions};
use serde_json::{Value, json};

use crate::checkpoint::{Checkpoint, Elements};
use crate::config::PaliGemmaConfig;
use crate::settings::PREPROCESSOR;
use crate::source::{SourceError, SourceTensor};

const TABLE: &str = "vision_tower.embeddings.position_embedding.weight";

impl Checkpoint {
    /// The same weights with positions for `side` patches along each side of a picture, of the type
    /// that they have in the file. Nothing changes where there are as many, or no table at all.
    ///
    /// # Errors
    ///
    /// If the table is no square grid.
    pub fn with_positions(
        mut self,
        side: usize,
        filter: PositionFilter,
    ) -> Result<Self, SourceError> {
        if let Some(table) = self.tensors.get_mut(TABLE) {
            resample(table, side, filter)?;
        }
        Ok(self)
    }
}

fn resample(
    table: &mut SourceTensor,
    side: usize,
    filter: PositionFilter,
) -> Result<(), SourceError> {
    let grid = match (table.elements, &*table.shape) {
        (Elements::Float(dtype), &[positions, width]) => {
            let old = positions.isqrt();
            (old > 0 && old * old == positions).then_some((dtype, old, width))
        }
        _ => None,
    };
    let (dtype, old, width) = grid.ok_or_else(|| SourceError::Positions {
        path: table.path.clone(),
        tensor: table.name.clone(),
        shape: table.shape.clone(),
    })?;
    if old == side {
        return Ok(());
    }
    let values: Vec<f32> = table.data(dtype, DType::F32).iter::<f32>().collect();
    let values = resample_positions(&values, width, [old, side], filter);
    let shape = [side * side, width];
    let data = TensorData::new(values, shape).convert_dtype(dtype.into());
    table.shape = shape.to_vec();
    table.data = data.bytes.to_vec().into();
    (table.order, table.map) = (None, None);
    Ok(())
}

/// The file `name` beside the weights as it is for `config`'s pictures: what `config.json` and
/// `preprocessor_config.json` say of their size follows, all else stays as it is. A file that is
/// not JSON is left alone.
pub fn settings_at_resolution(name: &str, contents: Vec<u8>, config: &PaliGemmaConfig) -> Vec<u8> {
    let (side, tokens) = (config.vision.image_size, config.vision.num_patches());
    let Ok(mut file) = serde_json::from_slice::<Value>(&contents) else { return contents };
    // Of the sections only: a missing one is not made up, nor is a count that was left out.
    let mut set = |pointer: &str, field: &str, value: Value, always: bool| {
        let Some(section) = file.pointer_mut(pointer).and_then(Value::as_object_mut) else {
            return;
        };
        if always || section.contains_key(field) {
            section.insert(field.to_owned(), value);
        }
    };
    match name {
        "config.json" => {
            set("/vision_config", "image_size", json!(side), true);
            set("/vision_config", "num_image_tokens", json!(tokens), false);
            set("/text_config", "num_image_tokens", json!(tokens), false);
        }
        PREPROCESSOR => {
            set("", "size", json!({"height": side, "width": side}), true);
            set("", "image_seq_length", json!(tokens), true);
        }
        _ => return contents,
    }
    format!("{file:#}\n").into_bytes()
}
