//! Pictures that were encoded together, as scenes of their own.

use std::sync::Arc;

use burn::tensor::TensorData;

use crate::Scene;

impl Scene {
    /// The first `counts[0]` pictures as one scene, the next `counts[1]` as another, and so on: the
    /// vision tower takes many pictures at a time, and a prompt only its own.
    ///
    /// # Shapes
    /// - features of scene `i`: `[1, counts[i] * N, D]`
    ///
    /// # Panics
    /// If the counts do not add up to the pictures.
    pub fn split(&self, counts: &[usize]) -> Vec<Self> {
        let pictures = self.sizes.len();
        assert_eq!(counts.iter().sum::<usize>(), pictures, "every picture belongs to one scene");
        let [tokens, width] = [self.features.shape[1], self.features.shape[2]];
        let bytes = self.features.as_bytes();
        let [tokens, size] = [tokens, bytes.len()].map(|all| all / pictures.max(1));
        let mut first = 0;
        let scene = |&count: &usize| {
            let own = first..first + count;
            first += count;
            let bytes = bytes[own.start * size..own.end * size].to_vec();
            let shape = [1, count * tokens, width];
            let features = TensorData::from_bytes_vec(bytes, shape, self.features.dtype);
            Self { features: Arc::new(features), sizes: self.sizes[own].into() }
        };
        counts.iter().map(scene).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three pictures of two tokens, three numbers wide.
    fn scene() -> Scene {
        let numbers: Vec<f32> = (0..18u8).map(f32::from).collect();
        let sizes = [(1, 2), (3, 4), (5, 6)];
        let features = Arc::new(TensorData::new(numbers, [1, 6, 3]));
        Scene { features, sizes: sizes.as_slice().into() }
    }

    #[test]
    fn every_picture_goes_to_its_scene() {
        let scenes = scene().split(&[1, 0, 2]);
        let expected = [(0..6u8, vec![(1, 2)]), (6..6, vec![]), (6..18, vec![(3, 4), (5, 6)])];
        for (scene, (numbers, sizes)) in scenes.iter().zip(expected) {
            let numbers: Vec<f32> = numbers.map(f32::from).collect();
            assert_eq!(scene.features().shape[..], [1, 2 * sizes.len(), 3]);
            assert_eq!(scene.features().to_vec::<f32>().unwrap(), numbers);
            assert_eq!(scene.sizes(), sizes);
        }
    }
}
