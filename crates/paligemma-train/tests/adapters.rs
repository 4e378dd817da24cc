//! Adapters against PEFT's own values, their training over every kind of matrix, and what is
//! selected to be trained.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::{AutodiffModule, Module, ModuleVisitor, Param};
use burn::optim::{GradientsParams, Optimizer, SgdConfig};
use burn::tensor::{FloatDType, Int, Tensor, TensorData};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use paligemma::{Model, PackedFormat, Storage};
use paligemma_checkpoint::{
    AdapterConfig, AdapterFile, Checkpoint, Export, Format, ModulePath, PaliGemmaConfig, export,
    is_factor, other_files, save_adapter,
};
use paligemma_nn::{NnBackend, PrefixMask};
use paligemma_train::{
    Backward, Batch, Gradients, Lora, Loss, Names, Parameter, Row, Rows, Selection, SelectionError,
    suffix_loss,
};
use safetensors::SafeTensors;

type B = Autodiff<Flex>;

const F32: Storage = Storage::Dense(FloatDType::F32);
/// What two kernels of the reference differ by, tenfold (docs/numerics.md).
const TOLERANCE: f32 = 1e-4;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny_pg1").join(name)
}

/// The golden model on a backend.
fn model<B: NnBackend>(storage: Storage) -> Model<B>
where
    B::Device: Default,
{
    open(&golden("published"), storage)
}

/// The model of a folder.
fn open<B: NnBackend>(folder: &Path, storage: Storage) -> Model<B>
where
    B::Device: Default,
{
    let config = PaliGemmaConfig::open(folder).unwrap();
    let checkpoint = Checkpoint::open(folder).unwrap();
    Model::load(&config, &checkpoint, storage, &B::Device::default(), |_| ()).unwrap().0
}

/// Selects what is trained; new adapters are the same each time.
fn select(
    model: Model<B>,
    selection: &Selection,
) -> Result<(Model<B>, Vec<Parameter>), SelectionError> {
    support::drawn(5, || paligemma_train::select(model, selection))
}

fn adapter() -> AdapterFile {
    AdapterFile::open(golden("adapter")).unwrap()
}

/// A tensor of a golden file.
fn values<T: Copy, const N: usize>(file: &str, key: &str, number: fn([u8; N]) -> T) -> Vec<T> {
    let file = fs::read(golden(file)).unwrap();
    let file = SafeTensors::deserialize(&file).unwrap();
    let tensor = file.tensor(key).unwrap();
    tensor.data().as_chunks().0.iter().map(|&bytes| number(bytes)).collect()
}

fn floats(file: &str, key: &str) -> Vec<f32> {
    values(file, key, f32::from_le_bytes)
}

fn ids(case: &str) -> Vec<u32> {
    let ids = values("golden.safetensors", &format!("{case}.in.input_ids"), i64::from_le_bytes);
    ids.into_iter().map(|id| u32::try_from(id).unwrap()).collect()
}

fn pixels<B: NnBackend>(case: &str) -> Tensor<B, 4>
where
    B::Device: Default,
{
    let pixels = floats("golden.safetensors", &format!("{case}.in.pixel_values"));
    Tensor::from_data(TensorData::new(pixels, [1, 3, 56, 56]), &B::Device::default())
}

fn features<B: NnBackend>(model: &Model<B>, case: &str) -> Tensor<B, 3>
where
    B::Device: Default,
{
    model.encode(pixels(case))
}

/// The logits of all slots of the golden prompt.
fn logits<B: NnBackend>(model: &Model<B>) -> Vec<f32>
where
    B::Device: Default,
{
    let features = features(model, "a");
    let text: Vec<i64> = ids("a")[features.dims()[1]..].iter().map(|&id| i64::from(id)).collect();
    let length = text.len();
    let text = TensorData::new(text, [1, length]);
    let text = Tensor::<B, 2, Int>::from_data(text, &B::Device::default());
    let embeds = model.embed(features, text);
    let mask = PrefixMask::prefixes(&[embeds.dims()[1]]);
    let decoder = model.language_model();
    decoder.logits(decoder.forward(embeds, &mask, None)).into_data().to_vec().unwrap()
}

/// The golden training example.
fn rows() -> Rows {
    let ids = ids("b");
    let text = &ids[16..];
    let prefix = text.iter().position(|&id| id == 10).unwrap() + 1;
    let (prefix, suffix) = (text[..prefix].to_vec(), text[prefix..].to_vec());
    Rows::new(vec![Row { pictures: vec![0], prefix, suffix }])
}

fn loss(model: &Model<B>) -> Tensor<B, 1> {
    suffix_loss(model, features(model, "b"), &rows(), 0, Loss::default())
}

#[track_caller]
fn assert_near(ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len());
    let errors = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs());
    let error = errors.fold(0.0, |most: f32, e| if e > most || e.is_nan() { e } else { most });
    assert!(error <= tolerance, "{error:e} is more than {tolerance:e}");
}

/// Gradients of all parameters that have one, by their paths.
fn gradients(
    model: &Model<B>,
    gradients: &<B as burn::tensor::backend::AutodiffBackend>::Gradients,
) -> Vec<(String, Vec<f32>)> {
    struct Found<'a, G> {
        path: ModulePath,
        gradients: &'a G,
        all: Vec<(String, Vec<f32>)>,
    }
    type Gradients = <B as burn::tensor::backend::AutodiffBackend>::Gradients;
    impl ModuleVisitor<B> for Found<'_, Gradients> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, name: &str, container: &str) {
            self.path.exit(name, container);
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if let Some(gradient) = param.val().grad(self.gradients) {
                let values = gradient.into_data().to_vec().unwrap();
                self.all.push((self.path.joined(), values));
            }
        }
    }
    let mut found = Found { path: ModulePath::default(), gradients, all: Vec::new() };
    model.visit(&mut found);
    found.all
}

#[test]
fn an_adapter_of_peft_gives_its_logits() {
    let expected = floats("adapters.safetensors", "a.logits");
    let beside = adapter().apply::<Flex, _>(model(F32)).unwrap();
    assert_near(&logits(&beside), &expected, TOLERANCE);
    let merged = model::<Flex>(F32).adapted(&adapter()).unwrap();
    assert_near(&logits(&merged), &expected, TOLERANCE);
    // The adapter does something.
    let without = logits(&model::<Flex>(F32));
    assert!(without.iter().zip(&expected).any(|(a, b)| (a - b).abs() > 0.1));
}

/// `check_adapters.py` has transformers load the same export, without a tensor missing or left over.
#[test]
fn a_merged_export_gives_the_logits_that_transformers_has_of_it() {
    let (source, folder) = (golden("published"), tempfile::tempdir().unwrap());
    let checkpoint = Checkpoint::open(&source).unwrap();
    let (adapter, others) = (adapter(), other_files(&source).unwrap());
    let config = PaliGemmaConfig::open(&source).unwrap();
    let what = Export {
        adapter: Some(&adapter),
        dtype: None,
        format: Format::Safetensors,
        config: &config,
        others: &others,
    };
    let out = folder.path().join("merged");
    export(model::<Flex>(F32), &checkpoint, what, &out, |_| ()).unwrap();
    let merged = open::<Flex>(&out, F32);
    assert_near(&logits(&merged), &floats("merged.safetensors", "a.logits"), TOLERANCE);
}

#[test]
fn gradients_of_an_adapter_are_those_of_peft() {
    let adapted = adapter().apply::<B, _>(model(F32)).unwrap();
    let (adapted, _) = select(adapted, &Selection::Lora(Lora::new(3))).unwrap();
    let loss = loss(&adapted);
    assert_near(
        &loss.to_data().to_vec::<f32>().unwrap(),
        &floats("adapters.safetensors", "b.loss"),
        TOLERANCE,
    );
    let found = gradients(&adapted, &loss.backward());
    assert_eq!(found.len(), 2 * 7 * 2, "nothing but the factors has a gradient");
    let theirs: Vec<_> = found
        .iter()
        .map(|(path, _)| path.strip_suffix(".weight").unwrap())
        .map(|path| floats("adapters.safetensors", &format!("b.gradient.{path}")))
        .collect();
    let largest = |values: &[f32]| values.iter().fold(0.0, |most: f32, v| most.max(v.abs()));
    for ((path, ours), theirs) in found.iter().zip(&theirs) {
        assert!(is_factor(path), "{path}");
        assert_near(ours, theirs, TOLERANCE * largest(theirs));
    }
}

#[test]
fn adapters_learn_over_any_matrix_and_change_nothing_else() {
    let storages = [
        F32,
        Storage::Packed(PackedFormat::Bf16),
        Storage::Packed(PackedFormat::Int8),
        Storage::Packed(PackedFormat::Int4),
    ];
    for storage in storages {
        let lora = Lora { dropout: 0.1, ..Lora::new(4) };
        let (mut trained, parameters) =
            select(model::<B>(storage), &Selection::Lora(lora.clone())).unwrap();
        assert_eq!(parameters.iter().filter(|parameter| parameter.trained).count(), 28);
        // A new adapter changes nothing.
        let start = logits(&model::<Flex>(storage));
        assert_near(&logits(&trained.valid()), &start, 1e-6);

        let first = loss(&trained).into_scalar();
        let mut optimizer = SgdConfig::new().init();
        for step in 0..12 {
            let dropped = lora.dropped(trained.clone(), step);
            let gradients = GradientsParams::from_grads(loss(&dropped).backward(), &dropped);
            trained = optimizer.step(0.05, trained, gradients);
        }
        let last = loss(&trained).into_scalar();
        assert!(last < 0.7 * first, "{storage:?}: {first} to {last}");

        // What was trained is a PEFT adapter, and all of it: the base is as it was.
        let folder = tempfile::tempdir().unwrap();
        save_adapter::<B, _>(&trained, folder.path(), &lora.config("base", Some("v2"))).unwrap();
        let saved = AdapterFile::open(folder.path()).unwrap();
        let AdapterConfig { base, revision, .. } = saved.config();
        assert_eq!((base.as_deref(), revision.as_deref()), (Some("base"), Some("v2")));
        let again = saved.apply::<Flex, _>(model(storage)).unwrap();
        assert_near(&logits(&again), &logits(&trained.valid()), 1e-6);
    }
}

#[test]
fn a_layer_that_is_computed_again_leaves_out_the_same() {
    let lora = Lora { dropout: 0.3, ..Lora::new(3) };
    let storage = Storage::Packed(PackedFormat::Bf16);
    let adapted = adapter().apply::<B, _>(model(storage)).unwrap();
    let (adapted, _) = select(adapted, &Selection::Lora(lora.clone())).unwrap();
    let step = |seed: u64, recompute: bool| {
        let batch = Batch { pixels: pixels("b"), rows: rows(), pad: 0 };
        let backward = Backward { recompute, ..Backward::default() };
        let dropped = lora.dropped(adapted.clone(), seed);
        let (loss, gradients) = backward.run(&dropped, &batch);
        (loss, all(&adapted, &gradients))
    };
    let (loss, gradients) = step(1, false);
    assert_eq!(gradients.len(), 28);
    for (a, b) in gradients.iter().zip(&step(1, true).1) {
        assert_near(a, b, 1e-5);
    }
    assert!((loss - step(1, true).0).abs() < 1e-5);
    assert!((loss - step(2, false).0).abs() > 1e-4, "another seed leaves out others");
}

/// The values of all gradients.
fn all(model: &Model<B>, gradients: &Gradients) -> Vec<Vec<f32>> {
    struct All<'a>(&'a Gradients, Vec<Vec<f32>>);
    impl ModuleVisitor<B> for All<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let gradient = self.0.get::<Flex, D>(param.id);
            self.1.extend(gradient.map(|values| values.into_data().to_vec().unwrap()));
        }
    }
    let mut all = All(gradients, Vec::new());
    model.visit(&mut all);
    all.1
}

#[test]
fn a_run_goes_on_with_the_adapter_it_has() {
    let adapted = adapter().apply::<B, _>(model(F32)).unwrap();
    let (adapted, _) = select(adapted, &Selection::Lora(Lora::new(3))).unwrap();
    let expected = floats("adapters.safetensors", "a.logits");
    assert_near(&logits(&adapted.valid()), &expected, TOLERANCE);
}

/// The published names of what is trained.
fn trained(selection: &Selection) -> Vec<String> {
    let (model, parameters) = select(model::<B>(F32), selection).unwrap();
    let loss = loss(&model);
    let with_gradient = gradients(&model, &loss.backward()).len();
    let names: Vec<String> = parameters.into_iter().filter(|p| p.trained).map(|p| p.name).collect();
    assert_eq!(with_gradient, names.len(), "{selection:?}");
    names
}

fn parameters(patterns: &[&str]) -> Selection {
    Selection::Parameters(Names::new(patterns.to_vec()))
}

#[test]
fn groups_are_what_their_names_say() {
    let count = |text: &str| trained(&text.parse().unwrap()).len();
    // 37 of the tower, 2 of the projector, 20 of the decoder.
    assert_eq!((count("full"), count("frozen-vision"), count("projector")), (59, 22, 2));
    assert_eq!(count("lora"), 2 * 7 * 2);
    assert_eq!(count("vision_tower"), 37);
    let attention = trained(&parameters(&["language_model.*.self_attn"]));
    assert_eq!(attention.len(), 2 * 4);
    assert!(attention.iter().all(|name| name.starts_with("language_model.model.layers.")));
    let some = trained(&"multi_modal_projector.linear.bias, *.layers.1.mlp.fc1".parse().unwrap());
    assert_eq!(
        some,
        [
            "vision_tower.vision_model.encoder.layers.1.mlp.fc1.weight",
            "vision_tower.vision_model.encoder.layers.1.mlp.fc1.bias",
            "multi_modal_projector.linear.bias",
        ]
    );
}

#[test]
fn adapters_are_on_the_decoder_unless_others_are_named() {
    let decoder = trained(&Selection::Lora(Lora::new(2)));
    assert!(decoder.iter().all(|name| name.starts_with("language_model.model.layers.")));
    let targets = Names::new(["vision_tower.*.q_proj", "multi_modal_projector"]);
    let others = trained(&Selection::Lora(Lora { targets, ..Lora::new(2) }));
    assert_eq!(others.len(), 2 * 3);
    assert!(others.iter().all(|name| !name.starts_with("language_model")));
    // The table, which is also the head, has none even where all is named.
    let all = trained(&Selection::Lora(Lora { targets: Names::new(["*"]), ..Lora::new(2) }));
    assert_eq!(all.len(), 2 * (2 * 7 + 1 + 2 * 6));
}

#[test]
fn what_cannot_be_selected_is_refused() {
    let refuse =
        |storage, selection: &Selection| select(model::<B>(storage), selection).unwrap_err();
    let error = refuse(F32, &parameters(&["projector", "vision_tower"]));
    let SelectionError::NoMatch { pattern, nearest } = &error else { panic!("{error}") };
    assert_eq!((pattern.as_str(), nearest.len()), ("projector", 3));
    let targets = Names::new(["q_proj"]);
    let error = refuse(F32, &Selection::Lora(Lora { targets, ..Lora::new(2) }));
    assert!(error.to_string().contains("`q_proj` fits no parameter"), "{error}");
    let error = refuse(F32, &parameters(&["[a"]));
    assert!(matches!(error, SelectionError::Pattern { .. }), "{error}");
    let packed = Storage::Packed(PackedFormat::Int8);
    let error = refuse(packed, &"full".parse().unwrap());
    assert!(error.to_string().contains("is packed and cannot be trained"), "{error}");
    // Norms are never packed.
    assert!(select(model::<B>(packed), &parameters(&["*norm*"])).is_ok());
    for lora in [
        Lora::new(0),
        Lora { alpha: f64::NAN, ..Lora::new(2) },
        Lora { dropout: 1.0, ..Lora::new(2) },
    ] {
        let error = refuse(F32, &Selection::Lora(lora));
        assert!(matches!(error, SelectionError::Adapter { .. }), "{error}");
    }
}

#[test]
fn parameters_keep_their_identity_and_are_listed() {
    fn identities(model: &Model<B>) -> Vec<u64> {
        struct Identities(Vec<u64>);
        impl ModuleVisitor<B> for Identities {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
                self.0.push(param.id.val());
            }
        }
        let mut identities = Identities(Vec::new());
        model.visit(&mut identities);
        identities.0
    }
    let selection = Selection::Lora(Lora::new(2));
    let (one, listed) = select(model::<B>(F32), &selection).unwrap();
    let (other, _) = select(model::<B>(F32), &selection).unwrap();
    assert_eq!(identities(&one), identities(&other));
    let packed = Storage::Packed(PackedFormat::Int8);
    let (_, of_packed) = select(model::<B>(packed), &selection).unwrap();
    assert_eq!(listed, of_packed, "names and shapes are those of the matrices");
    let all: usize = listed.iter().map(Parameter::count).sum();
    assert_eq!(all, one.num_params());
}
