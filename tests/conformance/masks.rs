//! The mask VQ-VAE against the reference: vectors, codes, and masks of codes.

use burn::tensor::{Int, Tensor, TensorData};
use paligemma_checkpoint::{Checkpoint, load_masks};
use paligemma_mask::MaskVqVae;
use paligemma_nn::NnBackend;

use super::bench::values;
use super::{Bench, Measured, Quantity};
use crate::reference;

/// Every step from masks to codes and from codes to masks.
pub(super) fn measure<B: NnBackend>(bench: &Bench<B>) -> Vec<Measured> {
    let file = Checkpoint::from_static(reference::MASK_WEIGHTS);
    let file = file.expect("the golden weights are an archive of arrays");
    let (vae, _): (MaskVqVae<B>, _) =
        load_masks(&file, &bench.device).expect("the golden weights are a mask VQ-VAE");
    let tolerance = bench.tolerance_of(Quantity::Layer);
    let close = |name: &str, ours: Tensor<B, 4>| {
        let theirs = reference::floats(&format!("masks.{name}"));
        Measured::relative(name, &values(ours), &theirs, tolerance)
    };

    let shape = reference::shape("masks.in");
    let masks = TensorData::new(reference::floats("masks.in"), shape);
    let latents = vae.latents(Tensor::from_data(masks, &bench.device));
    let codes = vae.quantise(latents.clone());
    let found: Vec<i64> = codes.clone().into_data().iter().collect();
    vec![
        close("latents", latents),
        Measured::exact("codes", &found, &reference::integers("masks.codes")),
        close("decoded", vae.decode(codes)),
        close("any_decoded", vae.decode(golden_codes("masks.any_codes", &bench.device))),
    ]
}

fn golden_codes<B: NnBackend>(key: &str, device: &B::Device) -> Tensor<B, 2, Int> {
    Tensor::from_data(TensorData::new(reference::integers(key), reference::shape(key)), device)
}
