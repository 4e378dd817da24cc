//! Prefill: intermediate values and logits against the reference's.

use burn::tensor::Tensor;
use paligemma_nn::{NnBackend, PrefixMask, TokenKind};

use super::bench::{mask, values, without_padding};
use super::{Bench, Measured, Quantity};
use crate::reference::Tiny;

/// Every value of the vision tower, the projector and the decoder, in the order of computation.
pub(super) fn intermediate<B: NnBackend>(bench: &Bench<B>, case: &str) -> Vec<Measured> {
    let measure = |(name, ours, theirs): (String, Vec<f32>, Vec<f32>)| {
        let residual = name.starts_with("text_layer");
        let quantity = if residual { Quantity::Residual } else { Quantity::Reference };
        Measured::difference(name, &ours, &theirs, bench.tolerance_of(quantity))
    };
    seen(bench, case).into_iter().map(measure).collect()
}

/// The same values, each with its error relative to itself.
pub(super) fn layers<B: NnBackend>(bench: &Bench<B>, case: &str) -> Vec<Measured> {
    let tolerance = bench.tolerance_of(Quantity::Layer);
    let measure = |(name, ours, theirs): (String, Vec<f32>, Vec<f32>)| {
        Measured::relative(name, &ours, &theirs, tolerance)
    };
    seen(bench, case).into_iter().map(measure).collect()
}

/// The values by name: ours and the reference's.
fn seen<B: NnBackend>(bench: &Bench<B>, case: &str) -> Vec<(String, Vec<f32>, Vec<f32>)> {
    let rows = bench.golden.rows(case);
    let mut seen: Vec<(String, Vec<f32>)> = Vec::new();
    let mut keep = |name: String, value: &Tensor<B, 3>| seen.push((name, values(value.clone())));

    let tower = bench.model.vision_tower();
    let features =
        tower.trace(bench.pixels(case), |name, value| keep(format!("vision_{name}"), value));
    keep("vision_last_hidden_state".into(), &features);
    keep("projector".into(), &bench.model.projector().forward(features));
    let embeds = bench.embeds(case);
    keep("inputs_embeds".into(), &embeds);
    let decoder = bench.model.language_model();
    let hidden = decoder
        .trace(embeds, &mask(&rows), None, |name, value| keep(format!("text_{name}"), value));
    keep("text_norm".into(), &hidden);

    let text = |name: &str| name.starts_with("text_") || name == "inputs_embeds";
    let compare = |(name, ours): (String, Vec<f32>)| {
        let theirs = bench.golden.floats(&format!("{case}.{name}"));
        let [ours, theirs] = if text(&name) {
            [ours, theirs].map(|value| without_padding(&value, &rows))
        } else {
            [ours, theirs]
        };
        (name, ours, theirs)
    };
    seen.into_iter().map(compare).collect()
}

/// The vector that stands for each picture, from the reference's tower output: its mean at length 1.
pub(super) fn embedding<B: NnBackend>(bench: &Bench<B>, case: &str) -> Vec<Measured> {
    let (_, pooled) = bench.model.encode_pooled(bench.pixels(case));
    let ours: Vec<f32> = pooled.into_data().iter::<f32>().collect();
    let key = format!("{case}.vision_last_hidden_state");
    let (features, shape) = (bench.golden.floats(&key), bench.golden.shape(&key));
    let (patches, width) = (shape[1], shape[2]);
    let theirs = features.chunks(patches * width).flat_map(|picture| {
        let mean = |column: usize| -> f64 {
            let column = picture.iter().skip(column).step_by(width);
            column.map(|&value| f64::from(value)).sum::<f64>() / patches as f64
        };
        let means: Vec<f64> = (0..width).map(mean).collect();
        let length = means.iter().map(|mean| mean * mean).sum::<f64>().sqrt();
        means.into_iter().map(move |mean| (mean / length) as f32)
    });
    let theirs: Vec<f32> = theirs.collect();
    vec![Measured::difference("embedding", &ours, &theirs, bench.tolerance())]
}

/// The logits of every token's slot.
pub(super) fn logits<B: NnBackend>(bench: &Bench<B>, case: &str) -> Vec<Measured> {
    let rows = bench.golden.rows(case);
    let theirs = bench.golden.floats(&format!("{case}.logits"));
    let [ours, theirs] = [bench.logits(case), theirs].map(|value| without_padding(&value, &rows));
    vec![Measured::difference("logits", &ours, &theirs, bench.tolerance())]
}

/// What the reference gives when it is not told which tokens are the prefix: its prefix becomes
/// causal. Told so, our engine gives the same; told what PaliGemma is, it must not.
pub(super) fn causal_prefix<B: NnBackend>(bench: &Bench<B>) -> Vec<Measured> {
    // What the reference's own two logits differ by is a little more.
    let least = match bench.golden {
        Tiny::Gemma => 4.0,
        Tiny::Gemma2 => 1.2,
    };
    let rows = bench.golden.rows("a");
    let theirs = bench.golden.floats("a_no_tt.logits");
    let causal = PrefixMask::new(vec![vec![TokenKind::Suffix; rows[0].tokens.len()]]);
    let causal = bench.logits_under("a", &causal);
    let ours = bench.logits("a");
    let apart = Measured::difference("distance", &ours, &theirs, 0.0).error;
    let missing = if apart.is_finite() { f32::max(0.0, least - apart) } else { f32::INFINITY };
    vec![
        Measured::difference("logits of a causal prefix", &causal, &theirs, bench.tolerance()),
        Measured {
            what: format!("what lacks to a distance of {least} from a causal prefix"),
            error: missing,
            tolerance: 0.0,
        },
    ]
}
