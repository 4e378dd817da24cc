//! Workers that train one model together: threads of this process.

use std::num::NonZeroUsize;
use std::process;
use std::thread::{self, JoinHandle};

use clap::Args;
use paligemma::DeviceSpec;
use paligemma_train::{FinetuneError, Peers};

use super::shown::line;
use crate::error::Error;

/// How many workers there are.
#[derive(Args, Clone, Debug)]
pub(super) struct Workers {
    /// Workers of this process, who share the examples of each step: a GPU each, from --device on;
    /// on a CPU they share its threads
    #[arg(long, value_name = "N", default_value = "1")]
    workers: NonZeroUsize,
}

/// One worker of this process, and what it computes on.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) peers: Peers,
    pub(super) device: DeviceSpec,
}

impl Workers {
    /// The workers, if this build and machine can have them.
    pub(super) fn on(&self, first: DeviceSpec) -> Result<Vec<Worker>, Error> {
        let count = self.workers.get();
        Peers::new(0, count).check().map_err(FinetuneError::from)?;
        let devices = self.devices(first)?.into_iter().enumerate();
        let worker = |(rank, device)| Worker { peers: Peers::new(rank, count), device };
        Ok(devices.map(worker).collect())
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
