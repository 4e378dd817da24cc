//! Positions at other resolutions, against both references.

use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use paligemma_checkpoint::{
    Checkpoint, ConfigError, Elements, PositionFilter, load_module, settings_at_resolution,
};
use paligemma_siglip::{Siglip, resample_positions};
use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::support::{golden, golden_config, published_weights};

const PATCH: usize = 14;
const TABLE: &str = "vision_tower.embeddings.position_embedding.weight";

const PUBLISHED: &str = "vision_tower.vision_model.embeddings.position_embedding.weight";

struct Golden(Vec<u8>);

impl Golden {
    fn open() -> Self {
        Self(std::fs::read(golden("published").with_file_name("resolutions.safetensors")).unwrap())
    }

    fn values(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap();
        let numbers = tensor.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        (tensor.shape().to_vec(), numbers.collect())
    }
}

fn tower(side: usize, filter: PositionFilter) -> Siglip<Flex> {
    let config = golden_config().at_resolution(side).unwrap();
    let checkpoint = Checkpoint::open(golden("published")).unwrap();
    let checkpoint = checkpoint.with_positions(side / PATCH, filter).unwrap();
    let table = checkpoint.tensors().find(|tensor| tensor.module_path.as_deref() == Some(TABLE));
    assert_eq!(table.unwrap().shape, [config.vision.num_patches(), config.vision.hidden_size]);
    let empty = Siglip::<Flex>::new(&config.vision, &FlexDevice);
    load_module(empty, &checkpoint, "vision_tower", None).unwrap().0
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "they differ by {worst}");
}

#[test]
fn tables_are_those_of_both_references() {
    let golden = Golden::open();
    let (shape, table) = Golden(published_weights()).values(PUBLISHED);
    for side in [28, 42, 84, 126] {
        for (filter, name) in
            [(PositionFilter::Bilinear, "bilinear"), (PositionFilter::Bicubic, "bicubic")]
        {
            let (_, expected) = golden.values(&format!("{side}.{name}"));
            let found = resample_positions(&table, shape[1], [4, side / PATCH], filter);
            assert_close(&found, &expected, 1e-6);
        }
    }
}

#[test]
fn the_tower_is_that_of_transformers() {
    let golden = Golden::open();
    for side in [28, 42, 84, 126] {
        let (shape, pixels) = golden.values(&format!("{side}.pixels"));
        let (_, expected) = golden.values(&format!("{side}.tower"));
        let pixels = Tensor::<Flex, 4>::from_data(TensorData::new(pixels, shape), &FlexDevice);
        let features = tower(side, PositionFilter::Bicubic).forward(pixels);
        assert_close(&features.into_data().to_vec::<f32>().unwrap(), &expected, 2e-5);
    }
}

#[test]
fn its_own_resolution_keeps_the_bits() {
    let checkpoint = || Checkpoint::open(golden("published")).unwrap();
    let same = checkpoint().with_positions(4, PositionFilter::Bicubic).unwrap();
    assert_eq!(same.fingerprint(), checkpoint().fingerprint());
    let other = checkpoint().with_positions(5, PositionFilter::Bicubic).unwrap();
    assert_ne!(other.fingerprint(), checkpoint().fingerprint());
    let kind = |checkpoint: &Checkpoint| {
        let table = |path: Option<&str>| path == Some(TABLE);
        let mut tensors = checkpoint.tensors();
        tensors.find(|tensor| table(tensor.module_path.as_deref())).unwrap().elements
    };
    assert_eq!(kind(&other), kind(&same));
    assert!(matches!(kind(&other), Elements::Float(_)));
}

#[test]
fn sizes_that_are_no_multiple_of_the_patch_are_refused() {
    for side in [0, 57, 13] {
        let error = golden_config().at_resolution(side).unwrap_err();
        assert!(matches!(error, ConfigError::Value { field: "vision_config.image_size", .. }));
    }
    let error = golden_config().at_resolution(57).unwrap_err().to_string();
    assert!(error.contains("57") && error.contains("a multiple of patch_size (14)"), "{error}");
}

#[test]
fn the_files_beside_the_weights_follow() {
    let config = golden_config().at_resolution(84).unwrap();
    let resized = |name: &str, file: Value| -> Value {
        let contents = settings_at_resolution(name, file.to_string().into_bytes(), &config);
        serde_json::from_slice(&contents).unwrap()
    };
    let file = json!({"vision_config": {"num_image_tokens": 16}, "text_config": {}, "x": 1});
    let expected = json!({
        "vision_config": {"num_image_tokens": 36, "image_size": 84}, "text_config": {}, "x": 1,
    });
    assert_eq!(resized("config.json", file), expected);
    let file = json!({"size": {"height": 56, "width": 56}, "resample": 3});
    let expected =
        json!({"size": {"height": 84, "width": 84}, "image_seq_length": 36, "resample": 3});
    assert_eq!(resized("preprocessor_config.json", file.clone()), expected);
    assert_eq!(resized("other.json", file.clone()), file);
    assert_eq!(settings_at_resolution("config.json", b"no JSON".to_vec(), &config), b"no JSON");
}
