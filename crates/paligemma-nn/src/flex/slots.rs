//! Values written into a buffer where it lies.

use burn::tensor::DType;
use burn_flex::{Flex, FlexTensor};

use super::{Float, Values};
use crate::composed;

/// burn-flex 0.21 copies the whole buffer for every assignment to a slice of it; here it is copied
/// only if somebody else holds it too.
pub(super) fn write(mut buffer: Float, start: usize, values: FlexTensor) -> Float {
    let whole = buffer.layout().is_contiguous() && buffer.layout().start_offset() == 0;
    if !whole || buffer.dtype() != DType::F32 || values.dtype() != DType::F32 {
        return composed::write_slots::<Flex>(buffer, start, values);
    }
    let values = Values::new(values);
    let [batch, slots, heads, width] = buffer.layout().shape().dims();
    let [_, count, ..]: [usize; 4] = values.shape().dims();
    let fit = values.shape().dims() == [batch, count, heads, width] && start + count <= slots;
    assert!(fit, "the values do not fit the buffer");
    let slot = heads * width;
    let row = slots * slot;
    let storage = buffer.storage_mut::<f32>();
    for (i, values) in values.get().chunks_exact((count * slot).max(1)).enumerate() {
        storage[i * row + start * slot..][..values.len()].copy_from_slice(values);
    }
    buffer
}
