//! Adapters on PaliGemma 2: their gradients follow from the reference's, and a step moves nothing
//! else.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{FloatDType, Int, Tensor, TensorData};
use burn_autodiff::Autodiff;
use burn_flex::{Flex, FlexDevice};
use paligemma::{Model, PackedFormat, Storage};
use paligemma_checkpoint::{Checkpoint, LAYOUTS, ModulePath, PaliGemmaConfig, is_factor};
use paligemma_train::{
    Backward, Batch, HostBatch, LoraSettings, Row, Rows, Selection, Settings, Trainer, select,
};
use safetensors::SafeTensors;

type B = Autodiff<Flex>;

const RANK: usize = 3;
const ALPHA: f64 = 6.0;
/// What two kernels of the reference differ by, tenfold (docs/numerics.md).
const TOLERANCE: f32 = 1e-4;
/// The pictures' side, and the tokens of one.
const SIDE: usize = 56;
const PATCHES: usize = 16;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny_pg2").join(name)
}

/// The bytes of a tensor of a golden file.
fn bytes(file: &str, key: &str) -> Vec<u8> {
    let file = fs::read(golden(file)).unwrap();
    SafeTensors::deserialize(&file).unwrap().tensor(key).unwrap().data().to_vec()
}

fn floats(file: &str, key: &str) -> Vec<f32> {
    bytes(file, key).as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn pixels() -> Vec<f32> {
    floats("golden.safetensors", "b.in.pixel_values")
}

/// The golden training example.
fn rows() -> Rows {
    let ids = bytes("golden.safetensors", "b.in.input_ids");
    let ids = ids.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes));
    let text: Vec<u32> = ids.skip(PATCHES).map(|id| u32::try_from(id).unwrap()).collect();
    let prefix = text.iter().position(|&id| id == 10).unwrap() + 1;
    let (prefix, suffix) = (text[..prefix].to_vec(), text[prefix..].to_vec());
    Rows::new(vec![Row { pictures: vec![0], prefix, suffix }])
}

/// A run of five steps over one example.
fn settings() -> Settings {
    let lora = Some(LoraSettings { rank: RANK, alpha: ALPHA, dropout: 0.0 });
    let settings = Settings::new("tiny".to_owned(), PathBuf::from("data"));
    Settings { lora, epochs: 5, batch_size: 1, learning_rate: 1e-2, ..settings }
}

/// The golden model with new adapters.
fn adapted(storage: Storage) -> (Model<B>, Selection) {
    let folder = golden("published");
    let config = PaliGemmaConfig::open(&folder).unwrap();
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let model = Model::load(&config, &checkpoint, storage, &FlexDevice, |_| ()).unwrap().0;
    let selection = settings().selection().unwrap();
    (support::drawn(7, || select(model, &selection).unwrap().0), selection)
}

/// What a walk finds of every parameter, by its path.
#[derive(Default)]
struct Parameters {
    path: ModulePath,
    all: BTreeMap<String, (u64, TensorData)>,
}

impl ModuleVisitor<B> for Parameters {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, name: &str, container: &str) {
        self.path.exit(name, container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.all.insert(self.path.joined(), (param.id.val(), param.val().into_data()));
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<B, D, Int>>) {
        self.all.insert(self.path.joined(), (param.id.val(), param.val().into_data()));
    }
}

fn parameters(model: &Model<B>) -> BTreeMap<String, (u64, TensorData)> {
    let mut parameters = Parameters::default();
    model.visit(&mut parameters);
    parameters.all
}

/// The product of `[rows, inner]` and the transpose of `[columns, inner]`.
fn product(a: &[f32], b: &[f32], inner: usize) -> Vec<f32> {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let row = |a| b.chunks(inner).map(move |b| dot(a, b) as f32);
    a.chunks(inner).flat_map(row).collect()
}

/// A fresh adapter adds `s B A x` with `B = 0` to `W x`. So the loss is that without it, the
/// gradient of A is 0, and that of B is `s G A^T`, where G is the gradient of W: the reference's.
#[test]
fn gradients_of_fresh_adapters_follow_from_the_references() {
    let (model, _) = adapted(Storage::Dense(FloatDType::F32));
    let pixels = Tensor::from_data(TensorData::new(pixels(), [1, 3, SIDE, SIDE]), &FlexDevice);
    let batch = Batch { pixels, rows: rows(), pad: 0 };
    let (loss, gradients) = Backward::default().run(&model, &batch);
    let expected = floats("gradients.safetensors", "b.training_loss")[0];
    assert!((loss as f32 - expected).abs() < TOLERANCE, "{loss} for {expected}");

    let parameters = parameters(&model);
    let number = |id: u64| burn::module::ParamId::from(id);
    let of = |path: &str| {
        let (id, _) = parameters[path];
        let gradient = gradients.get::<Flex, 2>(number(id)).expect("a factor has a gradient");
        gradient.into_data().to_vec::<f32>().unwrap()
    };
    let mut compared = 0;
    for (path, (_, a)) in &parameters {
        let Some(matrix) = path.strip_suffix(".lora_A.weight") else { continue };
        assert!(of(path).iter().all(|&gradient| gradient == 0.0), "{path}");
        let name = LAYOUTS[0].file_name(&format!("{matrix}.weight")).unwrap();
        let full = floats("gradients.safetensors", &format!("b.gradient.{name}"));
        let [rank, inputs] = a.shape.dims();
        assert_eq!(rank, RANK);
        let scale = (ALPHA / RANK as f64) as f32;
        let theirs = product(&full, &a.to_vec::<f32>().unwrap(), inputs);
        let ours = of(&format!("{matrix}.lora_B.weight"));
        assert_eq!(ours.len(), theirs.len());
        let largest = theirs.iter().fold(0.0, |most: f32, value| most.max(scale * value.abs()));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let error = (ours - scale * theirs).abs();
            assert!(error <= TOLERANCE * largest, "{path}: {error:e} of {largest:e}");
        }
        compared += 1;
    }
    // Four layers of seven matrices.
    assert_eq!(compared, 4 * 7);
}

#[test]
fn steps_train_the_adapters_and_leave_the_base_as_it_is() {
    for storage in [Storage::Dense(FloatDType::F32), Storage::Packed(PackedFormat::Int8)] {
        let (model, selection) = adapted(storage);
        let before = parameters(&model);
        let settings = settings();
        let mut trainer = Trainer::new(model, settings, selection, 1, FloatDType::F32, FlexDevice);
        let mut step = || trainer.step(vec![HostBatch::new(pixels(), 1, SIDE, rows(), 0)]).unwrap();
        let losses = [step().loss, step().loss, step().loss];
        // The warm-up begins with a step of no size.
        assert!(losses[2] < losses[1] && losses[1] <= losses[0], "{storage:?}: {losses:?}");

        let after = parameters(&trainer.model);
        assert_eq!(before.len(), after.len());
        for (path, (_, values)) in &before {
            let same = *values == after[path].1;
            assert_eq!(same, !is_factor(path), "{storage:?}: {path}");
        }
    }
}
