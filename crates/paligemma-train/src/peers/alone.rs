//! A build without collectives: one worker sums its own numbers, more are refused.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::{Peers, PeersError};

impl Peers {
    pub(crate) fn join<B: Backend>(&self, _device: &B::Device) -> Result<(), PeersError> {
        self.refused()
    }

    #[expect(clippy::extra_unused_type_parameters, reason = "as it is with collectives")]
    pub(crate) fn leave<B: Backend>(&self) -> Result<(), PeersError> {
        self.refused()
    }

    pub(super) fn sum<B: Backend>(&self, values: Tensor<B, 1>) -> Result<Tensor<B, 1>, PeersError> {
        self.refused().map(|()| values)
    }

    fn refused(&self) -> Result<(), PeersError> {
        if self.count() == 1 { Ok(()) } else { Err(PeersError::NotInBuild) }
    }
}
