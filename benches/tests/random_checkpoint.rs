//! Random checkpoints are checkpoints: published names, and opened like any other.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use burn_flex::{Flex, FlexDevice};
use paligemma::{DeviceSpec, Dtype, Model, PackedFormat, PaliGemma, image::RgbImage};
use paligemma_benches::random::{Format, RandomError, weight_bytes, write};
use paligemma_benches::variant::Variant;
use paligemma_checkpoint::{Checkpoint, convert};

/// The names of a layer are those of the published files; one layer of each kind stands for all.
const NAMES: &str = "\
language_model.model.embed_tokens.weight
language_model.model.layers.0.input_layernorm.weight
language_model.model.layers.0.mlp.down_proj.weight
language_model.model.layers.0.mlp.gate_proj.weight
language_model.model.layers.0.mlp.up_proj.weight
language_model.model.layers.0.post_attention_layernorm.weight
language_model.model.layers.0.self_attn.k_proj.weight
language_model.model.layers.0.self_attn.o_proj.weight
language_model.model.layers.0.self_attn.q_proj.weight
language_model.model.layers.0.self_attn.v_proj.weight
language_model.model.norm.weight
multi_modal_projector.linear.bias
multi_modal_projector.linear.weight
vision_tower.vision_model.embeddings.patch_embedding.bias
vision_tower.vision_model.embeddings.patch_embedding.weight
vision_tower.vision_model.embeddings.position_embedding.weight
vision_tower.vision_model.encoder.layers.0.layer_norm1.bias
vision_tower.vision_model.encoder.layers.0.layer_norm1.weight
vision_tower.vision_model.encoder.layers.0.layer_norm2.bias
vision_tower.vision_model.encoder.layers.0.layer_norm2.weight
vision_tower.vision_model.encoder.layers.0.mlp.fc1.bias
vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight
vision_tower.vision_model.encoder.layers.0.mlp.fc2.bias
vision_tower.vision_model.encoder.layers.0.mlp.fc2.weight
vision_tower.vision_model.encoder.layers.0.self_attn.k_proj.bias
vision_tower.vision_model.encoder.layers.0.self_attn.k_proj.weight
vision_tower.vision_model.encoder.layers.0.self_attn.out_proj.bias
vision_tower.vision_model.encoder.layers.0.self_attn.out_proj.weight
vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.bias
vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.weight
vision_tower.vision_model.encoder.layers.0.self_attn.v_proj.bias
vision_tower.vision_model.encoder.layers.0.self_attn.v_proj.weight
vision_tower.vision_model.post_layernorm.bias
vision_tower.vision_model.post_layernorm.weight
";

#[test]
fn a_tiny_checkpoint_has_the_published_names_and_answers() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("tiny");
    let config = Variant::Tiny.config().unwrap();
    let parameters = write(&config, (1, Format::Bf16), &folder, &|_| ()).unwrap();
    assert_eq!(weight_bytes(&config, Format::Bf16), 2 * parameters as u64);

    let checkpoint = Checkpoint::open(&folder).unwrap();
    assert_eq!(checkpoint.layout().name, "published");
    let names: BTreeSet<String> = checkpoint.tensors().map(|tensor| tensor.file_name).collect();
    assert_eq!(
        names.iter().map(String::as_str).collect::<Vec<_>>(),
        NAMES.lines().collect::<Vec<_>>()
    );

    let model = PaliGemma::open(&folder, DeviceSpec::Flex, Dtype::F32).unwrap();
    assert_eq!(model.config(), &config);
    assert_eq!(model.report().parameters, parameters);
    let scene = model.encode(&[RgbImage::new(28, 28)]);
    let scored = model.score(&scene, "caption en", &["red"]).unwrap();
    assert!(scored[0].total().is_finite());
}

#[test]
fn the_seed_decides_every_weight() {
    let parent = tempfile::tempdir().unwrap();
    let config = Variant::Tiny.config().unwrap();
    let file = |name: &str, seed| {
        let folder = parent.path().join(name);
        write(&config, (seed, Format::Bf16), &folder, &|_| ()).unwrap();
        fs::read(folder.join("model.safetensors")).unwrap()
    };
    let first = file("a", 1);
    assert_eq!(first, file("b", 1));
    assert_ne!(first, file("c", 2));
}

#[test]
fn a_packed_file_is_the_converted_one() {
    let parent = tempfile::tempdir().unwrap();
    let config = Variant::Tiny.config().unwrap();
    let folder = |name: &str| parent.path().join(name);
    write(&config, (1, Format::Bf16), &folder("dense"), &|_| ()).unwrap();
    let dense = Checkpoint::open(folder("dense")).unwrap();
    for (name, drawn, format) in
        [("int8", Format::Int8, PackedFormat::Int8), ("int4", Format::Int4, PackedFormat::Int4)]
    {
        let converted = folder(&format!("{name}-converted"));
        let model = Model::<Flex>::new(&config.vision, &config.text, &FlexDevice);
        convert(model, &dense, format, &[], &converted, |_| ()).unwrap();
        write(&config, (1, drawn), &folder(name), &|_| ()).unwrap();
        let file = |folder: PathBuf| fs::read(folder.join("model.safetensors")).unwrap();
        assert!(file(folder(name)) == file(converted), "{name}");
    }
}

#[test]
fn the_published_sizes_are_those_of_the_published_models() {
    // keras-hub's presets, and the 64 rows that the published files pad the vocabulary with.
    let presets = [
        (Variant::Published224, 2_923_335_408_u64),
        (Variant::Published448, 2_924_220_144),
        (Variant::Published896, 2_927_759_088),
        (Variant::Second3b, 3_032_094_960),
        (Variant::Second10b, 9_662_409_456),
    ];
    for (variant, parameters) in presets {
        let config = variant.config().unwrap();
        let padding = 64 * config.text.hidden_size as u64;
        assert_eq!(weight_bytes(&config, Format::Bf16), 2 * (parameters + padding), "{variant:?}");
    }
}

#[test]
fn a_folder_in_use_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let config = Variant::Tiny.config().unwrap();
    let error = write(&config, (1, Format::Bf16), folder.path(), &|_| ()).unwrap_err();
    assert!(matches!(error, RandomError::Occupied { .. }), "{error}");
    let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["notes.txt"]);
}

#[test]
fn an_empty_folder_is_filled() {
    let folder = tempfile::tempdir().unwrap();
    let config = Variant::Tiny.config().unwrap();
    write(&config, (1, Format::F32), folder.path(), &|_| ()).unwrap();
    assert!(PaliGemma::open(folder.path(), DeviceSpec::Flex, Dtype::F32).is_ok());
}
