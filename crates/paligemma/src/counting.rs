//! For tests: an engine that counts what it is asked for, around the embedded model.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::TensorData;

use crate::engine::{Engine, HostPrompt, Reply};
use crate::{DeviceSpec, Dtype, PaliGemma};

/// How often each stage ran.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    encodes: AtomicUsize,
    prefills: AtomicUsize,
}

impl Counts {
    /// Encodes and prefills since the last time.
    pub(crate) fn take(&self) -> [usize; 2] {
        [&self.encodes, &self.prefills].map(|count| count.swap(0, Ordering::Relaxed))
    }
}

struct Counting {
    engine: Box<dyn Engine>,
    counts: Arc<Counts>,
}

/// The embedded model and the counts of what its engine is asked for.
pub(crate) fn counted() -> (PaliGemma, Arc<Counts>) {
    let model = PaliGemma::pocket(DeviceSpec::Auto, Dtype::F32).unwrap();
    let counts = Arc::<Counts>::default();
    let counting = |engine| Box::new(Counting { engine, counts: counts.clone() }) as _;
    (model.with_engine(counting), counts.clone())
}

impl Engine for Counting {
    fn encode(&self, pixels: Vec<f32>, pictures: usize, size: usize) -> TensorData {
        self.counts.encodes.fetch_add(1, Ordering::Relaxed);
        self.engine.encode(pixels, pictures, size)
    }

    fn encode_pooled(
        &self,
        pixels: Vec<f32>,
        pictures: usize,
        size: usize,
    ) -> (TensorData, Vec<f32>) {
        self.counts.encodes.fetch_add(1, Ordering::Relaxed);
        self.engine.encode_pooled(pixels, pictures, size)
    }

    fn prefill<'a>(&'a self, prompts: &[HostPrompt<'_>], room: usize) -> Box<dyn Reply + 'a> {
        self.counts.prefills.fetch_add(1, Ordering::Relaxed);
        self.engine.prefill(prompts, room)
    }

    fn dtype(&self) -> Dtype {
        self.engine.dtype()
    }
}
