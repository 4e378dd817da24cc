//! ColPali against transformers: vectors of pages and queries, and their scores.

#![cfg(feature = "flex")]

use std::path::{Path, PathBuf};

use burn::tensor::{FloatDType, Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use paligemma::{ColPali, MultiVector, Storage};
use paligemma_checkpoint::{Checkpoint, ColPaliConfig};
use safetensors::{Dtype, SafeTensors};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny_pg1/colpali")
}

fn model() -> (ColPaliConfig, ColPali<Flex>) {
    let config = std::fs::read_to_string(folder().join("config.json")).unwrap();
    let config = ColPaliConfig::from_json(&config).unwrap();
    let checkpoint = Checkpoint::open(folder()).unwrap();
    let storage = Storage::Dense(FloatDType::F32);
    let model = ColPali::load(&config, &checkpoint, storage, &FlexDevice, |_| ()).unwrap();
    (config, model)
}

fn floats(golden: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let tensor = golden.tensor(name).unwrap();
    assert_eq!(tensor.dtype(), Dtype::F32);
    tensor.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn ids(golden: &SafeTensors<'_>, name: &str) -> Vec<u32> {
    let tensor = golden.tensor(name).unwrap();
    let ids = tensor.data().as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
    ids.map(|id| u32::try_from(id).unwrap()).collect()
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "they differ by {worst}");
}

#[test]
fn vectors_and_scores_are_those_of_transformers() {
    let file = std::fs::read(folder().join("golden.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&file).unwrap();
    let (config, model) = model();
    let width = config.embedding_dim;
    let embed = |pixels: Option<Tensor<Flex, 4>>, ids: &[u32], expected: &str| {
        let values: Vec<f32> = model.embed(pixels, ids, &FlexDevice).into_data().to_vec().unwrap();
        assert_close(&values, &floats(&golden, expected), 1e-5);
        MultiVector { width, values }
    };
    let pixels = floats(&golden, "pixels");
    let side = config.vlm.vision.image_size;
    let page = ids(&golden, "page.ids");
    let pages: Vec<MultiVector> = pixels
        .chunks(3 * side * side)
        .zip(["page0", "page1"])
        .map(|(pixels, name)| {
            let pixels = TensorData::new(pixels.to_vec(), [1, 3, side, side]);
            embed(Some(Tensor::from_data(pixels, &FlexDevice)), &page, name)
        })
        .collect();
    let queries: Vec<MultiVector> = ["query0", "query1"]
        .map(|name| embed(None, &ids(&golden, &format!("{name}.ids")), name))
        .into();
    let scores: Vec<f32> =
        queries.iter().flat_map(|query| pages.iter().map(|page| query.score(page))).collect();
    assert_close(&scores, &floats(&golden, "scores"), 1e-4);
}

#[test]
fn another_model_is_refused() {
    let published = folder().with_file_name("published");
    let json = std::fs::read_to_string(published.join("config.json")).unwrap();
    let error = ColPaliConfig::from_json(&json).unwrap_err().to_string();
    assert!(error.contains("`paligemma`, expected `colpali`"), "{error}");
    let checkpoint = Checkpoint::open(published).unwrap();
    let (config, _) = model();
    let storage = Storage::Dense(FloatDType::F32);
    let error = ColPali::<Flex>::load(&config, &checkpoint, storage, &FlexDevice, |_| ());
    assert!(error.unwrap_err().to_string().contains("lacks"));
}
