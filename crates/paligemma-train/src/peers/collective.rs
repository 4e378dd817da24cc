//! Where workers meet, and what they sum, by burn's collectives.

use std::net::{TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorPrimitive};
use burn_collective::{
    AllReduceStrategy, CollectiveConfig, CollectiveError, PeerId, ReduceOperation, all_reduce,
    finish_collective, register, start_global_orchestrator,
};

use super::{Cluster, Endpoint, Peers, PeersError};

/// How long a worker looks for the first one.
const PATIENCE: Duration = Duration::from_secs(120);

impl From<CollectiveError> for PeersError {
    fn from(error: CollectiveError) -> Self {
        Self::Collective(format!("{error:?}"))
    }
}

impl Cluster {
    /// The first node begins to wait for the others; the others wait until it does.
    ///
    /// # Errors
    /// If it cannot, or never does.
    pub fn open(&self) -> Result<(), PeersError> {
        if self.node == 0 {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
            let (runtime, port) = (runtime.map_err(PeersError::Runtime)?, self.meet.port);
            thread::spawn(move || runtime.block_on(start_global_orchestrator(port)));
        }
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let addresses = (self.meet.host.as_str(), self.meet.port).to_socket_addrs();
            if addresses.is_ok_and(|mut all| all.any(|at| TcpStream::connect(at).is_ok())) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(200));
        }
        Err(PeersError::Nobody { meet: self.meet.to_string() })
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
        let mut config = CollectiveConfig::default()
            .with_num_devices(self.here)
            .with_local_all_reduce_strategy(AllReduceStrategy::Centralized);
        if let Some(Cluster { nodes, meet, address, .. }) = &self.cluster {
            let url = |at: &Endpoint| format!("ws://{at}");
            let address_of = |at: &Endpoint| {
                url(at).parse().map_err(|_| PeersError::Endpoint { text: at.to_string() })
            };
            config = config
                .with_num_nodes(*nodes as u32)
                .with_global_address(address_of(meet)?)
                .with_node_address(address_of(address)?)
                .with_data_service_port(address.port)
                .with_global_all_reduce_strategy(AllReduceStrategy::Ring);
        }
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
