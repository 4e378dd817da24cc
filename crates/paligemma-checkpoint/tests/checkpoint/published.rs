//! Names, shapes and sizes of the published 3B checkpoints, read off the lazy module.

use std::collections::BTreeMap;

use burn_flex::{Flex, FlexDevice};
use paligemma_checkpoint::{LAYOUTS, PaliGemmaConfig, parameter_shapes};

use crate::support::Whole;

/// Every tensor of the published file at 224 pixels, with its shape. A range stands for layers.
const PUBLISHED_3B_224: &str = "\
language_model.model.embed_tokens.weight [257216, 2048]
language_model.model.layers.0-17.input_layernorm.weight [2048]
language_model.model.layers.0-17.mlp.down_proj.weight [2048, 16384]
language_model.model.layers.0-17.mlp.gate_proj.weight [16384, 2048]
language_model.model.layers.0-17.mlp.up_proj.weight [16384, 2048]
language_model.model.layers.0-17.post_attention_layernorm.weight [2048]
language_model.model.layers.0-17.self_attn.k_proj.weight [256, 2048]
language_model.model.layers.0-17.self_attn.o_proj.weight [2048, 2048]
language_model.model.layers.0-17.self_attn.q_proj.weight [2048, 2048]
language_model.model.layers.0-17.self_attn.v_proj.weight [256, 2048]
language_model.model.norm.weight [2048]
multi_modal_projector.linear.bias [2048]
multi_modal_projector.linear.weight [2048, 1152]
vision_tower.vision_model.embeddings.patch_embedding.bias [1152]
vision_tower.vision_model.embeddings.patch_embedding.weight [1152, 3, 14, 14]
vision_tower.vision_model.embeddings.position_embedding.weight [256, 1152]
vision_tower.vision_model.encoder.layers.0-26.layer_norm1.bias [1152]
vision_tower.vision_model.encoder.layers.0-26.layer_norm1.weight [1152]
vision_tower.vision_model.encoder.layers.0-26.layer_norm2.bias [1152]
vision_tower.vision_model.encoder.layers.0-26.layer_norm2.weight [1152]
vision_tower.vision_model.encoder.layers.0-26.mlp.fc1.bias [4304]
vision_tower.vision_model.encoder.layers.0-26.mlp.fc1.weight [4304, 1152]
vision_tower.vision_model.encoder.layers.0-26.mlp.fc2.bias [1152]
vision_tower.vision_model.encoder.layers.0-26.mlp.fc2.weight [1152, 4304]
vision_tower.vision_model.encoder.layers.0-26.self_attn.k_proj.bias [1152]
vision_tower.vision_model.encoder.layers.0-26.self_attn.k_proj.weight [1152, 1152]
vision_tower.vision_model.encoder.layers.0-26.self_attn.out_proj.bias [1152]
vision_tower.vision_model.encoder.layers.0-26.self_attn.out_proj.weight [1152, 1152]
vision_tower.vision_model.encoder.layers.0-26.self_attn.q_proj.bias [1152]
vision_tower.vision_model.encoder.layers.0-26.self_attn.q_proj.weight [1152, 1152]
vision_tower.vision_model.encoder.layers.0-26.self_attn.v_proj.bias [1152]
vision_tower.vision_model.encoder.layers.0-26.self_attn.v_proj.weight [1152, 1152]
vision_tower.vision_model.post_layernorm.bias [1152]
vision_tower.vision_model.post_layernorm.weight [1152]
";

/// Tensor names in the published spelling, with shapes.
fn shapes(config: &PaliGemmaConfig) -> BTreeMap<String, Vec<usize>> {
    parameter_shapes::<Flex, _>(&Whole::new(config, &FlexDevice))
        .into_iter()
        .map(|(path, shape)| (LAYOUTS[0].file_name(&path).unwrap(), shape))
        .collect()
}

/// The lines of a listing with its ranges written out.
fn expand(listing: &str) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for line in listing.lines() {
        let (name, shape) = line.split_once(' ').unwrap();
        let range = name.split('.').find_map(|part| part.split_once('-'));
        let Some((first, last)) = range else {
            names.insert(name.to_owned(), shape.to_owned());
            continue;
        };
        for layer in first.parse::<usize>().unwrap()..=last.parse().unwrap() {
            let name = name.replace(&format!("{first}-{last}"), &layer.to_string());
            names.insert(name, shape.to_owned());
        }
    }
    names
}

#[test]
fn names_and_shapes_are_those_of_the_published_files() {
    for (size, patches) in [(224, 256), (448, 1024), (896, 4096)] {
        let shapes = shapes(&PaliGemmaConfig::published_3b(size));
        let found: BTreeMap<_, _> =
            shapes.into_iter().map(|(name, shape)| (name, format!("{shape:?}"))).collect();
        let listing = PUBLISHED_3B_224.replace("[256, 1152]", &format!("[{patches}, 1152]"));
        assert_eq!(found, expand(&listing), "at {size} pixels");
        assert_eq!(found.len(), 603);
    }
}

#[test]
fn parameter_counts_are_those_of_the_published_models() {
    // keras-hub's presets, whose vocabulary lacks the 64 rows that the published files pad with.
    let presets = [(224, 2_923_335_408_usize), (448, 2_924_220_144), (896, 2_927_759_088)];
    for (size, expected) in presets {
        let mut config = PaliGemmaConfig::published_3b(size);
        let count = |config: &PaliGemmaConfig| {
            shapes(config).values().map(|shape| shape.iter().product::<usize>()).sum::<usize>()
        };
        assert_eq!(count(&config), expected + 64 * 2048, "at {size} pixels");
        config.text.vocab_size = 257_152;
        assert_eq!(count(&config), expected, "at {size} pixels");
    }
}
