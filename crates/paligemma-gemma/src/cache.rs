//! Keys and values of the tokens seen so far, owned by the request.

use burn::tensor::{Int, Tensor, TensorData};
use paligemma_nn::NnBackend;

/// Keys and values of one layer, in buffers of the full capacity.
#[derive(Clone, Debug)]
pub struct LayerCache<B: NnBackend> {
    /// `None` until the first write, whose dtype and device the buffers take.
    buffers: Option<[Tensor<B, 4>; 2]>,
    length: usize,
    capacity: usize,
}

/// Keys and values of all layers of one batch of requests.
///
/// Buffers are allocated once, `[B, capacity, K, C]`, and never repeated per query head.
#[derive(Clone, Debug)]
pub struct KvCache<B: NnBackend> {
    pub(crate) layers: Vec<LayerCache<B>>,
    batch: usize,
}

impl<B: NnBackend> KvCache<B> {
    pub(crate) fn new(layers: usize, batch: usize, capacity: usize) -> Self {
        let layer = LayerCache { buffers: None, length: 0, capacity };
        Self { layers: vec![layer; layers], batch }
    }

    /// Slots written so far.
    pub fn len(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.length)
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Slots that fit.
    pub fn capacity(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.capacity)
    }

    /// Rows of the batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The given rows, each any number of times and in any order.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn select(&self, rows: &[usize]) -> Self {
        assert!(rows.iter().all(|&row| row < self.batch), "the cache has {} rows", self.batch);
        let indices: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let select = |buffer: &Tensor<B, 4>| {
            let indices = TensorData::new(indices.clone(), [rows.len()]);
            let indices = Tensor::<B, 1, Int>::from_data(indices, &buffer.device());
            buffer.clone().select(0, indices)
        };
        let layer = |layer: &LayerCache<B>| LayerCache {
            buffers: layer.buffers.as_ref().map(|buffers| buffers.each_ref().map(select)),
            ..*layer
        };
        Self { layers: self.layers.iter().map(layer).collect(), batch: rows.len() }
    }
}

impl<B: NnBackend> LayerCache<B> {
    /// Appends keys and values and returns all written so far.
    ///
    /// # Shapes
    /// - `key`, `value`: `[B, L, K, C]`
    /// - output: `[B, S, K, C]` each
    ///
    /// # Panics
    /// If the capacity is exceeded.
    pub fn append(&mut self, key: Tensor<B, 4>, value: Tensor<B, 4>) -> [Tensor<B, 4>; 2] {
        let [batch, added, heads, width] = key.dims();
        let (start, end) = (self.length, self.length + added);
        assert!(end <= self.capacity, "the cache holds {} tokens, not {end}", self.capacity);
        let buffers = self.buffers.take().unwrap_or_else(|| {
            let options = (&key.device(), key.dtype());
            let shape = [batch, self.capacity, heads, width];
            [Tensor::zeros(shape, options), Tensor::zeros(shape, options)]
        });
        let [keys, values] = buffers;
        let slots = [0..batch, start..end, 0..heads, 0..width];
        // The buffers are owned here alone, so a backend that can writes in place.
        let keys = keys.slice_assign(slots.clone(), key);
        let values = values.slice_assign(slots, value);
        let written = |buffer: &Tensor<B, 4>| buffer.clone().slice([0..batch, 0..end]);
        let all = [written(&keys), written(&values)];
        self.buffers = Some([keys, values]);
        self.length = end;
        all
    }
}
