//! The mask VQ-VAE against the reference: vectors, codes, and masks of codes.

use burn::tensor::{Int, Tensor, TensorData};
use paligemma_checkpoint::{Checkpoint, load_masks};
use paligemma_mask::MaskVqVae;
use paligemma_nn::NnBackend;

use super::bench::values;
use super::{Bench, Measured, Quantity};
use crate::reference;

/// Every step from masks to codes and from codes to masks: of a small model whose sizes all differ,
/// and of one of the published size.
pub(super) fn measure<B: NnBackend>(bench: &Bench<B>) -> Vec<Measured> {
    let small = Golden {
        case: "masks",
        weights: reference::MASK_WEIGHTS,
        names: ["in", "latents", "codes", "decoded", "any_codes", "any_decoded"],
    };
    let full = Golden {
        case: "mask_vqvae",
        weights: reference::FULL_MASK_WEIGHTS,
        names: ["masks", "latent", "codes", "decoded", "random_codes", "random_decoded"],
    };
    [small, full].iter().flat_map(|golden| golden.measure(bench)).collect()
}

/// A reference: its weights, and the keys of masks, latents, their codes, what is made of these, and
/// any other codes with what is made of them.
struct Golden {
    case: &'static str,
    weights: &'static [u8],
    names: [&'static str; 6],
}

impl Golden {
    fn measure<B: NnBackend>(&self, bench: &Bench<B>) -> Vec<Measured> {
        let file = Checkpoint::from_static(self.weights);
        let file = file.expect("the golden weights are an archive of arrays");
        let (vae, _): (MaskVqVae<B>, _) =
            load_masks(&file, &bench.device).expect("the golden weights are a mask VQ-VAE");
        let tolerance = bench.tolerance_of(Quantity::Layer);
        let [masks, latents, codes, decoded, any_codes, any_decoded] =
            self.names.map(|name| format!("{}.{name}", self.case));
        let close = |key: &String, ours: Tensor<B, 4>| {
            Measured::relative(key, &values(ours), &reference::MASKS.floats(key), tolerance)
        };

        let seen = vae.latents(golden_masks(&masks, &bench.device));
        let quantised = vae.quantise(seen.clone());
        let found: Vec<i64> = quantised.clone().into_data().iter().collect();
        vec![
            close(&latents, seen),
            Measured::exact(&codes, &found, &reference::MASKS.integers(&codes)),
            close(&decoded, vae.decode(quantised)),
            close(&any_decoded, vae.decode(golden_codes(&any_codes, &bench.device))),
        ]
    }
}

/// Masks as `[B, 1, 64, 64]`, which some references have without their second axis.
fn golden_masks<B: NnBackend>(key: &str, device: &B::Device) -> Tensor<B, 4> {
    let (shape, numbers) = (reference::MASKS.shape(key), reference::MASKS.floats(key));
    Tensor::from_data(TensorData::new(numbers, [shape[0], 1, 64, 64]), device)
}

fn golden_codes<B: NnBackend>(key: &str, device: &B::Device) -> Tensor<B, 2, Int> {
    Tensor::from_data(
        TensorData::new(reference::MASKS.integers(key), reference::MASKS.shape(key)),
        device,
    )
}
