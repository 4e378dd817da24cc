//! Modules from files: every spelling bit for bit, every mismatch by name.

use std::fs;
use std::path::PathBuf;

use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, FloatDType, Tensor, backend::Backend};
use burn_autodiff::Autodiff;
use burn_flex::{Flex, FlexDevice};
use burn_ndarray::{NdArray, NdArrayDevice};
use paligemma_checkpoint::{
    Checkpoint, LAYOUTS, LoadError, PaliGemmaConfig, check_module, load_module, parameter_shapes,
};
use paligemma_gemma::Gemma;
use paligemma_siglip::Siglip;
use safetensors::tensor::{Dtype, TensorView};

use crate::support::{
    TENSORS, Whole, assert_says, changed_weights, golden, golden_2, golden_config,
    published_weights, safetensors_file, tiny, values,
};

const EMBEDDING: &str = "language_model.model.embed_tokens.weight";
const QUERY: &str = "language_model.model.layers.1.self_attn.q_proj.weight";

fn load(checkpoint: &Checkpoint) -> Result<Vec<(DType, Vec<u8>)>, LoadError> {
    load_module::<Flex, _>(tiny(), checkpoint, "", None).map(|(module, _)| values(&module))
}

fn load_bytes(file: Vec<u8>) -> Result<Vec<(DType, Vec<u8>)>, LoadError> {
    load(&Checkpoint::from_bytes(file).unwrap())
}

/// The four spellings of one model's tensors, in shards too.
fn check_spellings(golden: fn(&str) -> PathBuf, tensors: usize) {
    let config = PaliGemmaConfig::open(golden("published")).unwrap();
    let whole = || Whole::<Flex>::new(&config, &FlexDevice);
    let load = |checkpoint: &Checkpoint| {
        let loaded = load_module::<Flex, _>(whole(), checkpoint, "", None);
        loaded.map(|(module, _)| values(&module)).unwrap()
    };
    let published = fs::read(golden("published").join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&published).unwrap();
    let expected: Vec<_> = parameter_shapes::<Flex, _>(&whole())
        .iter()
        .map(|(path, _)| file.tensor(&LAYOUTS[0].file_name(path).unwrap()).unwrap())
        .map(|tensor| (DType::F32, tensor.data().to_vec()))
        .collect();
    assert_eq!(expected.len(), tensors);
    let folders = [
        ("published", "published"),
        ("sharded", "published"),
        ("hf_v452", "transformers 4.52"),
        ("hf_v5", "transformers 5"),
    ];
    for (folder, layout) in folders {
        let checkpoint = Checkpoint::open(golden(folder)).unwrap();
        assert_eq!(checkpoint.layout().name, layout);
        assert!(load(&checkpoint) == expected, "{folder}");
    }
    let in_memory = &LAYOUTS[3];
    let renamed = changed_weights(&published, |tensors| {
        *tensors = std::mem::take(tensors)
            .into_iter()
            .map(|(name, tensor)| {
                let path = LAYOUTS[0].module_path(&name).unwrap();
                (in_memory.file_name(&path).unwrap(), tensor)
            })
            .collect();
    });
    let checkpoint = Checkpoint::from_bytes(renamed).unwrap();
    assert_eq!(checkpoint.layout(), in_memory);
    assert!(load(&checkpoint) == expected);
}

#[test]
fn every_spelling_and_the_shards_load_the_same_bits() {
    check_spellings(golden, TENSORS);
    // Two layers more, and two norms more in each of four.
    check_spellings(golden_2, TENSORS + 2 * 9 + 4 * 2);
}

#[test]
fn towers_load_alone() {
    let config = golden_config();
    let checkpoint = Checkpoint::open(golden("hf_v452")).unwrap();
    let (whole, report) = load_module(tiny(), &checkpoint, "", None).unwrap();
    let siglip = Siglip::<Flex>::new(&config.vision, &FlexDevice);
    let (siglip, vision) = load_module(siglip, &checkpoint, "vision_tower", None).unwrap();
    assert_eq!(values(&siglip), values(&whole.vision_tower));
    let gemma = Gemma::<Flex>::new(&config.text, &FlexDevice);
    let (gemma, text) = load_module(gemma, &checkpoint, "language_model", None).unwrap();
    assert_eq!(values(&gemma), values(&whole.language_model));
    assert_eq!(vision.tensors + text.tensors + 2, report.tensors);
    assert_eq!((vision.ignored.len(), text.ignored.len()), (0, 1));
}

#[test]
fn the_report_counts_and_explains() {
    let checkpoint = Checkpoint::open(golden("hf_v452")).unwrap();
    let (module, report) = load_module::<Flex, _>(tiny(), &checkpoint, "", None).unwrap();
    assert_eq!(report, check_module::<Flex, _>(&tiny(), &checkpoint, "").unwrap());
    assert_eq!(report.parameters, module.num_params());
    assert_eq!(report.bytes, 386_816); // metadata.total_size of the golden index
    assert_eq!(
        report.to_string(),
        "59 tensors, 96704 parameters, 0.4 MB\ntypes: F32 x 59\nnames: transformers 4.52\n\
        not used: lm_head.weight (equals the token embedding)"
    );
}

#[test]
fn a_head_that_is_not_tied_is_refused() {
    let file = published_weights();
    let zeros = vec![0; 320 * 48 * 4];
    let changed = changed_weights(&file, |tensors| {
        let head = TensorView::new(Dtype::F32, vec![320, 48], &zeros).unwrap();
        tensors.insert("language_model.lm_head.weight".to_owned(), head);
    });
    let error = load_bytes(changed).unwrap_err();
    assert_says(&error, &["`language_model.lm_head.weight`", "tied"]);
}

#[test]
fn a_missing_tensor_is_named_with_the_nearest_that_is_there() {
    let file = published_weights();
    let removed = changed_weights(&file, |tensors| {
        tensors.remove(QUERY);
        tensors.remove(EMBEDDING);
    });
    assert_says(&load_bytes(removed).unwrap_err(), &["lacks", EMBEDDING, "(and 1 more)"]);
    let misspelt = QUERY.replace("q_proj", "query_proj");
    let renamed = changed_weights(&file, |tensors| {
        let tensor = tensors.remove(QUERY).unwrap();
        tensors.insert(misspelt.clone(), tensor);
    });
    assert_says(&load_bytes(renamed).unwrap_err(), &["lacks", QUERY, &misspelt]);
}

#[test]
fn an_unknown_tensor_is_named_with_the_nearest_expected() {
    let file = published_weights();
    for (name, nearest) in [
        ("language_model.model.layers.1.self_attn.q_proj.weigth", QUERY),
        ("model.embed_tokens.weight", EMBEDDING),
    ] {
        let extended = changed_weights(&file, |tensors| {
            let tensor = tensors[EMBEDDING].clone();
            tensors.insert(name.to_owned(), tensor);
        });
        let checkpoint = Checkpoint::from_bytes(extended).unwrap();
        let error = load(&checkpoint).unwrap_err();
        assert_says(&error, &[&format!("`{name}`"), &format!("`{nearest}`"), "no part"]);
    }
}

#[test]
fn a_wrong_shape_is_named_with_both_shapes() {
    let file = published_weights();
    let changed = changed_weights(&file, |tensors| {
        let tensor = &tensors[QUERY];
        let flipped = TensorView::new(Dtype::F32, vec![48, 64], tensor.data()).unwrap();
        tensors.insert(QUERY.to_owned(), flipped);
    });
    let error = load_bytes(changed).unwrap_err();
    assert_says(&error, &[QUERY, "[48, 64]", "expected [64, 48]", "the configuration"]);
}

#[test]
fn weights_become_the_requested_type() {
    let checkpoint = Checkpoint::open(golden("published")).unwrap();
    let wide = load(&checkpoint).unwrap();
    let (module, _) =
        load_module::<Flex, _>(tiny(), &checkpoint, "", Some(FloatDType::BF16)).unwrap();
    for ((dtype, narrow), (_, wide)) in values(&module).iter().zip(&wide) {
        assert_eq!(*dtype, DType::BF16);
        for (narrow, wide) in narrow.chunks_exact(2).zip(wide.chunks_exact(4)) {
            let narrow = u32::from(u16::from_le_bytes(narrow.try_into().unwrap())) << 16;
            let wide = u32::from_le_bytes(wide.try_into().unwrap());
            // To nearest, ties to even: half a unit of the last place kept, and one for odd.
            let rounded = (wide + 0x7fff + (wide >> 16 & 1)) & 0xffff_0000;
            assert_eq!(narrow, rounded);
        }
    }
}

#[derive(Module, Debug)]
struct Bias<B: Backend> {
    bias: Param<Tensor<B, 1>>,
}

/// As a layer may be one of several kinds, none of which is in the published names.
#[derive(Module, Debug)]
enum Linear<B: Backend> {
    Dense(Bias<B>),
}

#[derive(Module, Debug)]
struct Small<B: Backend> {
    linear: Linear<B>,
}

fn small<B: Backend>(device: &B::Device) -> Small<B> {
    let never = |_: &B::Device, _| unreachable!("a loaded parameter is not initialised");
    let bias = Param::uninitialized(ParamId::new(), never, device.clone(), true, [2].into());
    Small { linear: Linear::Dense(Bias { bias }) }
}

/// A checkpoint of two numbers, which lie at an odd address if `padding` is odd.
fn two_numbers(padding: usize) -> Checkpoint {
    let entry = r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
    let blank = " ".repeat(padding);
    let header = format!(r#"{{"multi_modal_projector.linear.bias":{entry}}}{blank}"#);
    let data = [1.5_f32, -0.1].map(f32::to_le_bytes);
    Checkpoint::from_bytes(safetensors_file(&header, data.as_flattened())).unwrap()
}

fn load_small<B: Backend>(
    device: &B::Device,
    checkpoint: &Checkpoint,
    dtype: Option<FloatDType>,
) -> Result<Param<Tensor<B, 1>>, LoadError> {
    let loaded = load_module(small::<B>(device), checkpoint, "multi_modal_projector", dtype);
    loaded.map(|(Small { linear: Linear::Dense(Bias { bias }) }, _)| bias)
}

#[test]
fn any_alignment_and_any_device_gives_the_numbers() {
    for padding in 0..8 {
        let checkpoint = two_numbers(padding);
        let bias = load_small::<Flex>(&FlexDevice, &checkpoint, None).unwrap();
        assert_eq!(bias.val().into_data().to_vec::<f32>().unwrap(), [1.5, -0.1]);
        let bias = load_small::<NdArray>(&NdArrayDevice::Cpu, &checkpoint, None).unwrap();
        assert_eq!(bias.val().into_data().to_vec::<f32>().unwrap(), [1.5, -0.1]);
    }
}

#[test]
fn a_type_that_the_device_lacks_is_an_error() {
    let asked = Some(FloatDType::BF16);
    let error = load_small::<NdArray>(&NdArrayDevice::Cpu, &two_numbers(0), asked).unwrap_err();
    assert_says(&error, &["does not compute in BF16"]);
}

#[test]
fn loaded_parameters_can_be_trained_unless_frozen() {
    type Trained = Autodiff<Flex>;
    let (checkpoint, at) = (two_numbers(0), "multi_modal_projector");
    let trained = load_small::<Trained>(&FlexDevice, &checkpoint, None).unwrap();
    assert!(trained.is_require_grad());
    let Small { linear: Linear::Dense(Bias { bias }) } = small::<Trained>(&FlexDevice);
    let frozen = Small { linear: Linear::Dense(Bias { bias: bias.set_require_grad(false) }) };
    let (Small { linear: Linear::Dense(Bias { bias }) }, _) =
        load_module(frozen, &checkpoint, at, None).unwrap();
    assert!(!bias.is_require_grad());
}
