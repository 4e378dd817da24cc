//! Workers that train one model together: threads of this process, and other processes.

use std::num::NonZeroUsize;
use std::process;
use std::thread::{self, JoinHandle};

use clap::Args;
use paligemma::DeviceSpec;
use paligemma_train::{Cluster, Endpoint, FinetuneError, Peers};

use super::shown::line;
use crate::error::Error;

/// How many workers there are, and where.
#[derive(Args, Clone, Debug)]
pub(super) struct Workers {
    /// Workers of this process, who share the examples of each step: a GPU each, from --device on;
    /// on a CPU they share its threads
    #[arg(long, value_name = "N", default_value = "1")]
    workers: NonZeroUsize,
    /// Processes that train together, each started with the same options but for --node and --address
    #[arg(long, value_name = "N", requires_all = ["node", "meet", "address"])]
    nodes: Option<NonZeroUsize>,
    /// Which of them this is, from 0; node 0 writes the run's folder
    #[arg(long, value_name = "I", requires = "nodes")]
    node: Option<usize>,
    /// Where node 0 waits for the others
    #[arg(long, value_name = "HOST:PORT", requires = "nodes")]
    meet: Option<Endpoint>,
    /// Where the others reach this process, on a network that is trusted
    #[arg(long, value_name = "HOST:PORT", requires = "nodes")]
    address: Option<Endpoint>,
}

/// One worker of this process, and what it computes on.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) peers: Peers,
    pub(super) device: DeviceSpec,
}

impl Workers {
    /// Whether this process writes the run's folder.
    pub(super) fn writes(&self) -> bool {
        self.node.is_none_or(|node| node == 0)
    }

    /// The workers of this process, once those of the others can be met.
    pub(super) fn meet(&self, first: DeviceSpec) -> Result<Vec<Worker>, Error> {
        let devices = self.devices(first)?;
        let cluster = self.cluster();
        if let Some(cluster) = &cluster {
            cluster.check().map_err(FinetuneError::from)?;
            line(&format!("node {} of {}, at {}", cluster.node, cluster.nodes, cluster.meet));
            cluster.open().map_err(FinetuneError::from)?;
        }
        let here = devices.len();
        let peers = |number| Peers { here, number, cluster: cluster.clone() };
        peers(0).check().map_err(FinetuneError::from)?;
        let workers = devices.into_iter().enumerate();
        Ok(workers.map(|(number, device)| Worker { peers: peers(number), device }).collect())
    }

    fn cluster(&self) -> Option<Cluster> {
        let (meet, address) = (self.meet.clone()?, self.address.clone()?);
        Some(Cluster { nodes: self.nodes?.get(), node: self.node?, meet, address })
    }

    /// A device for each worker.
    fn devices(&self, first: DeviceSpec) -> Result<Vec<DeviceSpec>, Error> {
        let workers = self.workers.get();
        let device = |number| match first {
            DeviceSpec::Cuda(index) => DeviceSpec::Cuda(index + number),
            device => device,
        };
        if first == DeviceSpec::Wgpu && workers > 1 {
            return Err(Error::OneGpu { workers });
        }
        let devices = (0..workers).map(|number| device(number).resolve());
        Ok(devices.collect::<Result<_, _>>().map_err(paligemma::Error::from)?)
    }
}

/// A worker beside the first. If it fails, so does the program: the others would wait for it.
pub(super) fn beside(work: impl FnOnce() -> Result<(), Error> + Send + 'static) -> JoinHandle<()> {
    struct Ends;

    impl Drop for Ends {
        fn drop(&mut self) {
            if thread::panicking() {
                process::exit(1);
            }
        }
    }
    thread::spawn(move || {
        let _ends = Ends;
        if let Err(error) = work() {
            line(&format!("error: {}", error.line()));
            process::exit(1);
        }
    })
}
