//! Where workers meet, and what they sum, by burn's collectives.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorPrimitive};
use burn_collective::{
    AllReduceStrategy, CollectiveConfig, CollectiveError, PeerId, ReduceOperation, all_reduce,
    finish_collective, register,
};

use super::{Peers, PeersError};

impl From<CollectiveError> for PeersError {
    fn from(error: CollectiveError) -> Self {
        Self::Collective(format!("{error:?}"))
    }
}

impl Peers {
    fn id(&self) -> PeerId {
        PeerId::from(self.rank())
    }

    /// Waits for all others.
    ///
    /// # Errors
    /// If they do not come together.
    pub(crate) fn join<B: Backend>(&self, device: &B::Device) -> Result<(), PeersError> {
        if self.count() == 1 {
            return Ok(());
        }
        let config = CollectiveConfig::default()
            .with_num_devices(self.count())
            .with_local_all_reduce_strategy(AllReduceStrategy::Centralized);
        Ok(register::<B>(self.id(), device.clone(), config)?)
    }

    /// Leaves the others, at the end of the same step as they do.
    ///
    /// # Errors
    /// If they are not there any more.
    pub(crate) fn leave<B: Backend>(&self) -> Result<(), PeersError> {
        if self.count() == 1 {
            return Ok(());
        }
        Ok(finish_collective::<B>(self.id())?)
    }

    /// The sums over all workers, each of whom gives as many numbers.
    ///
    /// # Shapes
    /// - `values` and output: `[N]`, `N` as for every other worker
    pub(super) fn sum<B: Backend>(&self, values: Tensor<B, 1>) -> Result<Tensor<B, 1>, PeersError> {
        if self.count() == 1 {
            return Ok(values);
        }
        let values = values.into_primitive().tensor();
        let sum = all_reduce::<B>(self.id(), values, ReduceOperation::Sum)?;
        Ok(Tensor::from_primitive(TensorPrimitive::Float(sum)))
    }
}
