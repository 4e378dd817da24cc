//! Pictures as directions to compare by, and as features that can be kept and read again.

use std::sync::Arc;

use burn::prelude::Backend;
use burn::tensor::{Tensor, TensorData};
use paligemma_nn::NnBackend;
use paligemma_processor::image::RgbImage;
use paligemma_processor::preprocess;

use crate::{Error, Model, PaliGemma, Scene};

/// Below this length a vector has no direction (as `torch.nn.functional.normalize` has it).
const SHORTEST: f32 = 1e-12;

/// One picture, encoded for the decoder and for comparison.
#[derive(Clone, Debug)]
pub struct EncodedPicture {
    /// What prompts about the picture are answered from.
    pub scene: Scene,
    /// Its direction among pictures, `[D_vision]`: the cosine of two is the sum of products.
    pub embedding: Vec<f32>,
}

impl<B: NnBackend> Model<B> {
    /// [`Model::encode`], with one vector of length 1 per picture: the mean of the tower's last
    /// features (after the final norm, before the projector), in f32.
    ///
    /// Source: big_vision `models/vit.py`, `pool_type="gap"`; the tower was not trained for it.
    ///
    /// # Shapes
    /// - `pixels`: `[I, 3, H, W]` in -1..1
    /// - output: `[I, N, D]` and `[I, D_vision]`
    pub fn encode_pooled(&self, pixels: Tensor<B, 4>) -> (Tensor<B, 3>, Tensor<B, 2>) {
        let features = self.vision_tower().forward(pixels);
        let pooled = pooled(features.clone());
        (self.projector().forward(features), pooled)
    }
}

/// The mean of the rows of each picture, at length 1: `[I, N, D]` to `[I, D]`.
fn pooled<B: Backend>(features: Tensor<B, 3>) -> Tensor<B, 2> {
    let mean = features.cast(burn::tensor::DType::F32).mean_dim(1).squeeze_dim::<2>(1);
    let length = mean.clone().powi_scalar(2).sum_dim(1).sqrt().clamp_min(SHORTEST);
    mean / length
}

impl PaliGemma {
    /// One vector of length 1 per picture, `[D_vision]`: near for pictures that look alike.
    ///
    /// The vision tower was trained to match texts through a head that the published models left
    /// out, so these vectors compare pictures with pictures only.
    ///
    /// # Errors
    /// If there are no pictures, or the model's numbers are not finite.
    pub fn embed(&self, pictures: &[RgbImage]) -> Result<Vec<Vec<f32>>, Error> {
        let encoded = self.encode_each(pictures)?;
        Ok(encoded.into_iter().map(|picture| picture.embedding).collect())
    }

    /// Encodes pictures in one pass, each for itself, with its direction.
    ///
    /// # Errors
    /// As [`PaliGemma::embed`].
    pub fn encode_each(&self, pictures: &[RgbImage]) -> Result<Vec<EncodedPicture>, Error> {
        if pictures.is_empty() {
            return Err(Error::Nothing { what: "picture" });
        }
        let size = self.config().vision.image_size;
        let pixels = pictures.iter().flat_map(|picture| preprocess(picture, size)).collect();
        let (features, pooled) = self.engine.encode_pooled(pixels, pictures.len(), size);
        let features: Vec<f32> = features.iter::<f32>().collect();
        if !features.iter().chain(&pooled).all(|value| value.is_finite()) {
            return Err(Error::NonFiniteFeatures { dtype: self.dtype() });
        }
        let each = features.chunks(features.len() / pictures.len());
        let each = each.zip(pooled.chunks(pooled.len() / pictures.len())).zip(pictures);
        each.map(|((features, embedding), picture)| {
            let scene = self.scene(features.to_vec(), &[picture.dimensions()])?;
            Ok(EncodedPicture { scene, embedding: embedding.to_vec() })
        })
        .collect()
    }

    /// Pictures that were encoded before, from the features of all of them, `[I * N, D]` row by
    /// row, and their widths and heights in pixels.
    ///
    /// # Errors
    /// If the features are not as many as this model makes of so many pictures, or not finite.
    pub fn scene(&self, features: Vec<f32>, sizes: &[(u32, u32)]) -> Result<Scene, Error> {
        let config = self.config();
        let (tokens, width) = (config.vision.num_patches() * sizes.len(), config.projection_dim);
        if features.len() != tokens * width {
            return Err(Error::FeatureCount { found: features.len(), expected: tokens * width });
        }
        if !features.iter().all(|value| value.is_finite()) {
            return Err(Error::NonFiniteFeatures { dtype: self.dtype() });
        }
        let features = Arc::new(TensorData::new(features, [1, tokens, width]));
        Ok(Scene { features, sizes: sizes.into() })
    }
}

#[cfg(test)]
mod tests {
    use paligemma_processor::image::{Rgb, RgbImage};

    use super::*;
    use crate::counting::counted;
    use crate::{Options, Request};

    fn pictures() -> Vec<RgbImage> {
        let paint = |seed: u32| {
            RgbImage::from_fn(112, 112, |x, y| match (x, y) {
                (40..76, 30..66) => Rgb([44, 84, 220]),
                _ => Rgb([(x * seed) as u8, (y * seed) as u8, 180]),
            })
        };
        (0..3).map(paint).collect()
    }

    #[test]
    fn one_pass_gives_what_each_picture_gives_alone() {
        let (model, counts) = counted();
        let pictures = pictures();
        let together = model.encode_each(&pictures).unwrap();
        assert_eq!(counts.take(), [1, 0]);
        for (picture, encoded) in pictures.iter().zip(&together) {
            let alone = model.encode(std::slice::from_ref(picture));
            let values = |scene: &Scene| scene.features().iter::<f32>().collect::<Vec<_>>();
            let pairs = values(&alone).into_iter().zip(values(&encoded.scene));
            assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-5));
            assert_eq!(encoded.scene.sizes(), [(112, 112)]);
            let length: f32 = encoded.embedding.iter().map(|value| value * value).sum();
            assert!((length - 1.0).abs() < 1e-5, "{length}");
        }
        let cosine = |a: usize, b: usize| -> f32 {
            let pairs = together[a].embedding.iter().zip(&together[b].embedding);
            pairs.map(|(a, b)| a * b).sum()
        };
        assert!(cosine(0, 1) < 0.9999 && cosine(0, 0) > 0.9999);
    }

    #[test]
    fn kept_features_answer_as_the_picture_does() {
        let (model, counts) = counted();
        let picture = &pictures()[0];
        let seen = model.encode(std::slice::from_ref(picture));
        let kept = seen.features().iter::<f32>().collect::<Vec<_>>();
        let kept = model.scene(kept, &[picture.dimensions()]).unwrap();
        counts.take();
        let answer = |scene: Scene| {
            let (prompt, options) = ("caption en".to_owned(), Options::default());
            model.generate(&Request { scene, prompt, options, constraint: None }).unwrap()
        };
        assert_eq!(answer(seen), answer(kept));
        assert_eq!(counts.take(), [0, 2]);
    }

    #[test]
    fn features_of_another_model_are_refused() {
        let (model, _) = counted();
        let all = model.config().vision.num_patches() * model.config().projection_dim;
        let message = |features, sizes: &[_]| model.scene(features, sizes).unwrap_err().to_string();
        assert!(message(vec![0.0; all - 1], &[(1, 1)]).contains("the model makes"));
        assert!(message(vec![0.0; all], &[(1, 1); 2]).contains("the model makes"));
        assert!(message(vec![f32::NAN; all], &[(1, 1)]).contains("not finite"));
        assert!(model.scene(vec![0.0; all], &[(1, 1)]).is_ok());
        assert!(model.embed(&[]).is_err());
    }
}
