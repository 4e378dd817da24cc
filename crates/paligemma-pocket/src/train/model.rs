//! The sizes of the embedded model and what its parameters begin as.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use paligemma::Model;
use paligemma_checkpoint::PaliGemmaConfig;
use paligemma_gemma::GemmaConfig;
use paligemma_nn::NnBackend;
use paligemma_pocket::scene::SIDE;
use paligemma_pocket::vocabulary;
use paligemma_siglip::SiglipConfig;

/// Number of `<loc>` tokens.
pub(crate) const LOCATIONS: usize = 1024;

/// A tower of 0.7 M, a decoder of 1.0 M and a vocabulary of 0.2 M parameters.
pub(crate) fn config() -> PaliGemmaConfig {
    let vision = SiglipConfig {
        hidden_size: 128,
        intermediate_size: 384,
        num_hidden_layers: 4,
        num_attention_heads: 4,
        image_size: SIDE as usize,
        patch_size: 14,
        num_channels: 3,
        layer_norm_eps: 1e-6,
    };
    let text = GemmaConfig {
        vocab_size: vocabulary::size().next_multiple_of(64),
        hidden_size: 128,
        intermediate_size: 384,
        num_hidden_layers: 4,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 64,
        max_position_embeddings: 512,
        ..GemmaConfig::gemma_2b(0)
    };
    PaliGemmaConfig {
        projection_dim: text.hidden_size,
        text,
        vision,
        image_token_index: vocabulary::image_token(),
        bos_token_id: 2,
        eos_token_id: 1,
        pad_token_id: 0,
    }
}

/// A new model: what a block adds begins as nothing, places begin as smooth functions of where
/// they are (docs/pocket.md says what each of the three is worth).
pub(crate) fn new<B: NnBackend>(config: &PaliGemmaConfig, device: &B::Device) -> Model<B> {
    let model = Model::new(&config.vision, &config.text, device);
    model.map(&mut Beginning { path: Vec::new(), patches: config.vision.num_patches() })
}

/// A module in which what a block adds begins as nothing.
pub(crate) fn quiet<B: NnBackend, M: Module<B>>(module: M) -> M {
    module.map(&mut Beginning { path: Vec::new(), patches: 0 })
}

/// What queries and what a picture brings to the decoder are multiplied by in [`calm`].
const QUERIES: f64 = 0.02;
const PICTURES: f64 = 0.1;

/// The same model with its attention brought down. Muon lets matrices grow: after some thousand
/// steps the tokens of a picture attend to the prompt with weights that f32 cannot tell from 0, and
/// are so large that nothing a layer adds to them matters. What has no weight has no gradient.
pub(crate) fn calm<B: NnBackend>(model: Model<B>) -> Model<B> {
    model.map(&mut Calm { path: Vec::new() })
}

struct Calm {
    path: Vec<String>,
}

impl<B: NnBackend> ModuleMapper<B> for Calm {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let inside = |name: &str| self.path.iter().any(|part| part == name);
        let factor = if inside("language_model") && inside("q_proj") {
            QUERIES
        } else if inside("multi_modal_projector") {
            PICTURES
        } else {
            return param;
        };
        param.map(|weight| weight.detach().mul_scalar(factor).detach().require_grad())
    }
}

struct Beginning {
    path: Vec<String>,
    patches: usize,
}

/// `[cos, sin]` of `place` at `count / 2` wavelengths from `shortest` to `longest`.
fn waves(place: f32, count: usize, shortest: f32, longest: f32) -> impl Iterator<Item = f32> {
    let pairs = count / 2;
    (0..pairs).flat_map(move |pair| {
        let share = pair as f32 / (pairs - 1) as f32;
        let wavelength = shortest * (longest / shortest).powf(share);
        let angle = std::f32::consts::TAU * place / wavelength;
        [angle.cos(), angle.sin()]
    })
}

impl Beginning {
    /// Half of the channels tell the row, half the column, in patches.
    fn positions(&self, width: usize) -> Vec<f32> {
        let across = self.patches.isqrt();
        (0..self.patches)
            .flat_map(|patch| {
                let place = |at: usize| waves(at as f32, width / 2, 2.0, 4.0 * across as f32);
                place(patch / across).chain(place(patch % across)).map(|wave| 0.3 * wave)
            })
            .collect()
    }
}

/// What the embeddings of the `<loc>` tokens begin as, `[LOCATIONS, width]`: near places are near.
pub(crate) fn location_table(width: usize) -> Vec<f32> {
    let scale = (2.0 / width as f32).sqrt();
    (0..LOCATIONS)
        .flat_map(|loc| waves(loc as f32, width, 24.0, 4096.0).map(move |wave| scale * wave))
        .collect()
}

impl<B: NnBackend> ModuleMapper<B> for Beginning {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let width = *param.lazy_shape().iter().last().unwrap_or(&0);
        let device = param.lazy_device();
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        match path.as_slice() {
            [.., "o_proj" | "down_proj" | "out_proj" | "fc2" | "third", "weight"] => {
                param.map(|weight| weight.zeros_like().detach().require_grad())
            }
            [.., "position_embedding", "weight"] => {
                let data = TensorData::new(self.positions(width), [self.patches, width]);
                param.map(|_| Tensor::from_data(data, &device).require_grad())
            }
            [.., "embed_tokens", "weight"] => {
                let data = TensorData::new(location_table(width), [LOCATIONS, width]);
                let first = vocabulary::first_location() as usize;
                let locations = Tensor::<B, 2>::from_data(data, &device);
                param.map(|table| {
                    let rows = table.clone().detach().reshape([-1, width as i64]);
                    let rows = rows.slice_assign([first..first + LOCATIONS, 0..width], locations);
                    rows.reshape(table.shape()).detach().require_grad()
                })
            }
            _ => param,
        }
    }
}
