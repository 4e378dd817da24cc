//! The golden checkpoint, copies of it to damage, and a whole model to load it into.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, backend::Backend};
use burn_flex::{Flex, FlexDevice};
use paligemma_checkpoint::PaliGemmaConfig;
use paligemma_gemma::Gemma;
use paligemma_nn::{NnBackend, Projection, Projections, Walk};
use paligemma_siglip::Siglip;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

/// Tensors of the golden model: 16 for each of 2 vision layers, 9 for each of 2 text layers, 5
/// around the vision layers, 2 around the text layers, 2 of the projector.
pub(crate) const TENSORS: usize = 2 * 16 + 2 * 9 + 5 + 2 + 2;

/// A folder of the golden checkpoint: `published`, `sharded`, `hf_v452` or `hf_v5`.
pub(crate) fn golden(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny_pg1").join(folder)
}

/// The same of the golden PaliGemma 2.
pub(crate) fn golden_2(folder: &str) -> PathBuf {
    golden("..").join("tiny_pg2").join(folder)
}

pub(crate) fn golden_config() -> PaliGemmaConfig {
    PaliGemmaConfig::open(golden("published")).unwrap()
}

/// A copy of a golden folder, free to be changed.
pub(crate) fn copy(folder: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(golden(folder)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

/// The published weights after `change` was made to the map of names and tensors.
pub(crate) fn changed_weights<'a>(
    file: &'a [u8],
    change: impl FnOnce(&mut BTreeMap<String, TensorView<'a>>),
) -> Vec<u8> {
    let mut tensors: BTreeMap<_, _> =
        SafeTensors::deserialize(file).unwrap().tensors().into_iter().collect();
    change(&mut tensors);
    safetensors::serialize(&tensors, None).unwrap()
}

pub(crate) fn published_weights() -> Vec<u8> {
    fs::read(golden("published").join("model.safetensors")).unwrap()
}

/// A safetensors file from its parts.
pub(crate) fn safetensors_file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

#[derive(Module, Debug)]
pub(crate) struct Projector<B: NnBackend> {
    linear: Projection<B>,
}

#[derive(Module, Debug)]
pub(crate) struct Whole<B: NnBackend> {
    pub(crate) vision_tower: Siglip<B>,
    multi_modal_projector: Projector<B>,
    pub(crate) language_model: Gemma<B>,
}

impl<B: NnBackend> Whole<B> {
    pub(crate) fn new(config: &PaliGemmaConfig, device: &B::Device) -> Self {
        let (input, output) = (config.vision.hidden_size, config.projection_dim);
        Self {
            vision_tower: Siglip::new(&config.vision, device),
            multi_modal_projector: Projector {
                linear: Projection::with_bias(input, output, device),
            },
            language_model: Gemma::new(&config.text, device),
        }
    }
}

impl<B: NnBackend> Projections<B> for Whole<B> {
    fn map_projections(self, walk: &mut Walk<'_, B>) -> Self {
        let linear = self.multi_modal_projector.linear;
        Self {
            vision_tower: walk.part("vision_tower", self.vision_tower),
            multi_modal_projector: Projector {
                linear: walk.part("multi_modal_projector.linear", linear),
            },
            language_model: walk.part("language_model", self.language_model),
        }
    }
}

/// An empty model of the golden sizes.
pub(crate) fn tiny() -> Whole<Flex> {
    Whole::new(&golden_config(), &FlexDevice)
}

/// The type and bytes of every parameter, in the order of the module.
pub(crate) fn values<B: Backend>(module: &impl Module<B>) -> Vec<(DType, Vec<u8>)> {
    struct Values(Vec<(DType, Vec<u8>)>);
    impl<B: Backend> ModuleVisitor<B> for Values {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let data = param.val().into_data();
            self.0.push((data.dtype, data.bytes.to_vec()));
        }
    }
    let mut values = Values(Vec::new());
    module.visit(&mut values);
    values.0
}

/// The message of an error: one line, without a full stop.
pub(crate) fn message(error: &impl std::error::Error) -> String {
    let message = error.to_string();
    assert!(!message.contains('\n') && !message.ends_with('.'), "{message}");
    message
}

/// Asserts that an error says all of `parts`.
pub(crate) fn assert_says(error: &impl std::error::Error, parts: &[&str]) {
    let message = message(error);
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}
