//! Names, shapes and sizes of the published checkpoints of both generations, read off the lazy
//! module.

use std::collections::BTreeMap;

use burn_flex::{Flex, FlexDevice};
use paligemma_checkpoint::{LAYOUTS, PaliGemmaConfig, parameter_shapes};

use crate::support::Whole;

/// Every tensor of PaliGemma 3B but the vision tower's, with its shape. A range stands for layers.
const PALIGEMMA_3B: &str = "\
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
";

/// The same of PaliGemma 2, with the names of its sizes in their place.
const PALIGEMMA_2: &str = "\
language_model.model.embed_tokens.weight [257216, WIDTH]
language_model.model.layers.0-LAST.input_layernorm.weight [WIDTH]
language_model.model.layers.0-LAST.mlp.down_proj.weight [WIDTH, INNER]
language_model.model.layers.0-LAST.mlp.gate_proj.weight [INNER, WIDTH]
language_model.model.layers.0-LAST.mlp.up_proj.weight [INNER, WIDTH]
language_model.model.layers.0-LAST.post_attention_layernorm.weight [WIDTH]
language_model.model.layers.0-LAST.post_feedforward_layernorm.weight [WIDTH]
language_model.model.layers.0-LAST.pre_feedforward_layernorm.weight [WIDTH]
language_model.model.layers.0-LAST.self_attn.k_proj.weight [KEYS, WIDTH]
language_model.model.layers.0-LAST.self_attn.o_proj.weight [WIDTH, QUERIES]
language_model.model.layers.0-LAST.self_attn.q_proj.weight [QUERIES, WIDTH]
language_model.model.layers.0-LAST.self_attn.v_proj.weight [KEYS, WIDTH]
language_model.model.norm.weight [WIDTH]
multi_modal_projector.linear.bias [WIDTH]
multi_modal_projector.linear.weight [WIDTH, 1152]
";

/// The sizes of PaliGemma 2 3B, 10B and 28B, and how many tensors each has.
const SIZES_2: [([(&str, &str); 5], usize); 3] = [
    (
        [
            ("LAST", "25"),
            ("WIDTH", "2304"),
            ("INNER", "9216"),
            ("QUERIES", "2048"),
            ("KEYS", "1024"),
        ],
        727,
    ),
    (
        [
            ("LAST", "41"),
            ("WIDTH", "3584"),
            ("INNER", "14336"),
            ("QUERIES", "4096"),
            ("KEYS", "2048"),
        ],
        903,
    ),
    (
        [
            ("LAST", "45"),
            ("WIDTH", "4608"),
            ("INNER", "36864"),
            ("QUERIES", "4096"),
            ("KEYS", "2048"),
        ],
        947,
    ),
];

/// Every tensor of the vision tower at 224 pixels.
const VISION_224: &str = "\
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

/// The pictures' sides in pixels, and how many patches they have.
const PICTURES: [(usize, usize); 3] = [(224, 256), (448, 1024), (896, 4096)];

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

fn check(config: &PaliGemmaConfig, text: &str, patches: usize, tensors: usize) {
    let shapes = shapes(config).into_iter();
    let found: BTreeMap<_, _> = shapes.map(|(name, shape)| (name, format!("{shape:?}"))).collect();
    let vision = VISION_224.replace("[256, 1152]", &format!("[{patches}, 1152]"));
    assert_eq!(found, expand(&(text.to_owned() + &vision)), "{patches} patches");
    assert_eq!(found.len(), tensors);
}

#[test]
fn names_and_shapes_are_those_of_the_published_files() {
    for (size, patches) in PICTURES {
        check(&PaliGemmaConfig::published_3b(size), PALIGEMMA_3B, patches, 603);
        let configs = PaliGemmaConfig::published_2(size);
        for (config, (sizes, tensors)) in configs.iter().zip(SIZES_2) {
            let fill = |text: String, (name, value): (&str, &str)| text.replace(name, value);
            let text = sizes.into_iter().fold(PALIGEMMA_2.to_owned(), fill);
            check(config, &text, patches, tensors);
        }
    }
}

/// keras-hub's presets, whose vocabulary lacks the 64 rows that the published files pad with.
fn check_count(mut config: PaliGemmaConfig, preset: usize) {
    let count = |config: &PaliGemmaConfig| {
        shapes(config).values().map(|shape| shape.iter().product::<usize>()).sum::<usize>()
    };
    assert_eq!(count(&config), preset + 64 * config.text.hidden_size);
    config.text.vocab_size = 257_152;
    assert_eq!(count(&config), preset);
}

#[test]
fn parameter_counts_are_those_of_the_published_models() {
    let presets = [
        (224, 2_923_335_408, [3_032_094_960, 9_662_409_456, 27_650_192_112]),
        (448, 2_924_220_144, [3_032_979_696, 9_663_294_192, 27_651_076_848]),
        (896, 2_927_759_088, [3_036_518_640, 9_666_833_136, 27_654_615_792]),
    ];
    for (size, first, second) in presets {
        check_count(PaliGemmaConfig::published_3b(size), first);
        for (config, preset) in PaliGemmaConfig::published_2(size).into_iter().zip(second) {
            check_count(config, preset);
        }
    }
}
