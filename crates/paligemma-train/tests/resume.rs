//! A run that is saved and resumed goes on exactly as if it had not been interrupted.

mod support;

use burn::module::AutodiffModule;
use burn::tensor::{Tensor, TensorData};
use burn_autodiff::Autodiff;
use burn_flex::{Flex, FlexDevice};
use paligemma::Model;
use paligemma_gemma::GemmaConfig;
use paligemma_nn::Dropout;
use paligemma_siglip::SiglipConfig;
use paligemma_train::{Backward, Batch, MixedOptimizer, OptimizerConfig, Row, Rows, numbered};

type B = Autodiff<Flex>;
const RATES: OptimizerConfig = OptimizerConfig { adamw: 1e-2, decay: 1e-3, muon: Some(0.02) };

fn model() -> Model<B> {
    let vision = SiglipConfig {
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 2,
        num_attention_heads: 3,
        image_size: 28,
        ..SiglipConfig::so400m(28)
    };
    let text = GemmaConfig {
        hidden_size: 32,
        intermediate_size: 56,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 6,
        ..GemmaConfig::gemma_2b(50)
    };
    // Numbering reads every parameter, and so draws it.
    support::drawn(3, || numbered::<B, _>(Model::new(&vision, &text, &FlexDevice)))
}

fn step(
    model: Model<B>,
    optimizer: &mut MixedOptimizer<B, Model<B>>,
    seed: u32,
) -> (Model<B>, f64) {
    let rows = Rows::new(vec![
        Row { pictures: vec![0], prefix: vec![2, 7 + seed, 10], suffix: vec![20 + seed, 1] },
        Row { pictures: vec![1, 0], prefix: vec![2, 9, 8, 10], suffix: vec![30, 31, 1] },
    ]);
    let values: Vec<f32> = (0..2 * 3 * 28 * 28).map(|i| ((i + seed) as f32 * 0.37).sin()).collect();
    let pixels = Tensor::from_data(TensorData::new(values, [2, 3, 28, 28]), &FlexDevice);
    let batch = Batch { pixels, rows, pad: 0 };
    let dropout = Some(Dropout { rate: 0.1, seed: seed.into() });
    let backward = Backward { dropout, recompute: true, ..Backward::default() };
    let (value, gradients) = backward.run(&model, &batch);
    (optimizer.step(model, gradients, 1.0), value)
}

/// Any output that depends on every parameter.
fn output(model: &Model<B>) -> TensorData {
    let model = model.valid();
    let pixels = Tensor::<Flex, 4>::full([1, 3, 28, 28], 0.3, &FlexDevice);
    let ids = Tensor::from_ints([[2, 5, 10]], &FlexDevice);
    let embeds = model.embed(model.encode(pixels), ids);
    let mask = paligemma_nn::PrefixMask::prefixes(&[embeds.dims()[1]]);
    let decoder = model.language_model();
    decoder.logits(decoder.forward(embeds, &mask, None)).into_data()
}

#[test]
fn a_resumed_run_equals_an_unbroken_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = model();
    let mut optimizer = MixedOptimizer::new(&model, RATES);
    for seed in 0..3 {
        model = step(model, &mut optimizer, seed).0;
    }
    optimizer.save(folder.path()).unwrap();
    let saved = model.clone();

    for seed in 3..6 {
        model = step(model, &mut optimizer, seed).0;
    }
    // The resumed model is numbered anew, as one that was read from a file is.
    let mut resumed = numbered::<B, _>(Model::from_inner(saved.valid()));
    let mut optimizer = MixedOptimizer::new(&resumed, RATES);
    optimizer = optimizer.load(folder.path(), &FlexDevice).unwrap();
    for seed in 3..6 {
        resumed = step(resumed, &mut optimizer, seed).0;
    }
    assert_eq!(output(&model), output(&resumed));
}

#[test]
fn steps_bring_the_loss_down() {
    let mut model = model();
    let mut optimizer = MixedOptimizer::new(&model, RATES);
    let mut losses = Vec::new();
    for _ in 0..30 {
        let loss;
        (model, loss) = step(model, &mut optimizer, 0);
        losses.push(loss);
    }
    assert!(losses[29] < 0.2 * losses[0], "{losses:?}");
}
