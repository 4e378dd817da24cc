//! Workers that train one model together: sums over all of them, by burn's collectives.

#[cfg(not(feature = "distributed"))]
#[path = "peers/alone.rs"]
mod collective;
#[cfg(feature = "distributed")]
mod collective;

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use thiserror::Error;

/// Numbers of a message. A collective sends a tensor as one frame, of 512 MiB at most.
const BUCKET: usize = 1 << 24;

/// Which of several workers one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    /// Workers of this process, and of every other.
    pub here: usize,
    /// Which of them this is, from 0.
    pub number: usize,
    /// The processes, if there are several.
    pub cluster: Option<Cluster>,
}

/// Which of several processes one is. They trust each other and their network: messages are neither
/// encrypted nor signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// How many there are.
    pub nodes: usize,
    /// Which of them this is, from 0.
    pub node: usize,
    /// Where the first one waits for the others.
    pub meet: Endpoint,
    /// Where the others reach this one.
    pub address: Endpoint,
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why workers cannot go on together.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PeersError {
    /// The build has no collectives.
    #[error("this build trains with one worker: build with `--features distributed`")]
    NotInBuild,
    /// What is no host with a port.
    #[error("{text:?} is no address: write HOST:PORT")]
    Endpoint {
        /// What was given.
        text: String,
    },
    /// A number beyond the processes that there are.
    #[error("there are {nodes} nodes, counted from 0: there is no node {node}")]
    Node {
        /// How many there are.
        nodes: usize,
        /// Which was asked for.
        node: usize,
    },
    /// The first worker is not there.
    #[error("nobody answers at {meet}: start node 0, and see that its port can be reached")]
    Nobody {
        /// Where it should be.
        meet: String,
    },
    /// The runtime of the first worker.
    #[error("cannot wait for other workers: {0}")]
    Runtime(std::io::Error),
    /// Workers that do not do the same.
    #[error(
        "the workers differ in {what}: give all of them the same data, model and options, and the \
         same run to go on with"
    )]
    Differ {
        /// In what.
        what: &'static str,
    },
    /// Another worker failed.
    #[error("another worker failed, and says why; the last checkpoint is from before")]
    Another,
    /// The collective.
    #[error("the workers lost each other: {0}")]
    Collective(String),
}

impl std::str::FromStr for Endpoint {
    type Err = PeersError;

    fn from_str(text: &str) -> Result<Self, PeersError> {
        let parts = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        let parts = parts.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
        match parts {
            Some((host, port)) => Ok(Self { host, port }),
            None => Err(PeersError::Endpoint { text: text.to_owned() }),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Cluster {
    /// Refuses a node that there is not.
    ///
    /// # Errors
    /// If it is beyond their number.
    pub fn check(&self) -> Result<(), PeersError> {
        let Self { nodes, node, .. } = *self;
        if node < nodes { Ok(()) } else { Err(PeersError::Node { nodes, node }) }
    }
}

impl Peers {
    /// Refuses several workers where the build has no collectives.
    ///
    /// # Errors
    /// If there are several.
    pub fn check(&self) -> Result<(), PeersError> {
        let refused = cfg!(not(feature = "distributed")) && self.count() > 1;
        if refused { Err(PeersError::NotInBuild) } else { Ok(()) }
    }

    /// One worker, who asks nobody.
    pub fn alone() -> Self {
        Self { here: 1, number: 0, cluster: None }
    }

    /// How many workers there are in all.
    pub fn count(&self) -> usize {
        self.here * self.cluster.as_ref().map_or(1, |cluster| cluster.nodes)
    }

    /// Which of all workers this is. The first writes what there is to write.
    pub fn rank(&self) -> usize {
        self.number + self.here * self.cluster.as_ref().map_or(0, |cluster| cluster.node)
    }

    /// The sums of a few numbers, in f32.
    pub(crate) fn sum_numbers<B: Backend>(
        &self,
        numbers: &[f64],
        device: &B::Device,
    ) -> Result<Vec<f64>, PeersError> {
        if self.count() == 1 {
            return Ok(numbers.to_vec());
        }
        // A ring cuts a tensor into as many parts as there are nodes: none may be empty.
        let length = numbers.len().next_multiple_of(self.count());
        let mut padded: Vec<f32> = numbers.iter().map(|&number| number as f32).collect();
        padded.resize(length, 0.0);
        let sums =
            self.sum(Tensor::<B, 1>::from_data(TensorData::new(padded, [length]), device))?;
        Ok(sums.into_data().iter::<f64>().take(numbers.len()).collect())
    }

    /// Whether any worker says so.
    pub(crate) fn any<B: Backend>(
        &self,
        here: bool,
        device: &B::Device,
    ) -> Result<bool, PeersError> {
        let sums = self.sum_numbers::<B>(&[f64::from(u8::from(here))], device)?;
        Ok(sums.iter().any(|&sum| sum > 0.0))
    }

    /// Refuses workers whose number for `what` is another.
    pub(crate) fn same<B: Backend>(
        &self,
        what: &'static str,
        number: u64,
        device: &B::Device,
    ) -> Result<(), PeersError> {
        // Sums of f32 are exact for parts of so few bits, and for their squares.
        let parts: Vec<f64> = (0..8).map(|at| ((number >> (8 * at)) & 0xff) as f64).collect();
        let squares = parts.iter().map(|part| part * part);
        let sums = self
            .sum_numbers::<B>(&parts.iter().copied().chain(squares).collect::<Vec<_>>(), device)?;
        let count = self.count() as f64;
        let (means, squares) = sums.split_at(parts.len());
        // All parts are the same where the mean of the squares is the square of the mean.
        let differs = means.iter().zip(squares).any(|(sum, square)| square * count != sum * sum);
        if differs { Err(PeersError::Differ { what }) } else { Ok(()) }
    }

    /// The sums of many tensors over all workers, in messages of bounded length.
    pub(crate) fn sum_all<B: Backend>(
        &self,
        tensors: Vec<Tensor<B, 1>>,
    ) -> Result<Vec<Tensor<B, 1>>, PeersError> {
        if self.count() == 1 {
            return Ok(tensors);
        }
        let lengths: Vec<usize> = tensors.iter().map(|tensor| tensor.dims()[0]).collect();
        let mut sums = Vec::with_capacity(tensors.len());
        let mut waiting = tensors.into_iter();
        for group in groups(&lengths) {
            let some: Vec<_> = waiting.by_ref().take(group.len()).collect();
            let joined = if some.len() == 1 { some[0].clone() } else { Tensor::cat(some, 0) };
            let total = joined.dims()[0];
            let parts = (0..total).step_by(BUCKET).map(|start| {
                let part = joined.clone().slice([start..(start + BUCKET).min(total)]);
                self.padded(part)
            });
            let summed = Tensor::cat(parts.collect::<Result<Vec<_>, _>>()?, 0);
            let mut start = 0;
            for &length in group {
                sums.push(summed.clone().slice([start..start + length]));
                start += length;
            }
        }
        Ok(sums)
    }

    /// [`Peers::sum`] of a tensor that may be shorter than there are workers.
    fn padded<B: Backend>(&self, values: Tensor<B, 1>) -> Result<Tensor<B, 1>, PeersError> {
        let length = values.dims()[0];
        if length >= self.count() {
            return self.sum(values);
        }
        let zeros = Tensor::zeros([self.count() - length], &values.device());
        Ok(self.sum(Tensor::cat(vec![values, zeros], 0))?.slice([0..length]))
    }
}

/// Lengths that follow each other, as many together as a message holds, but one at least.
fn groups(lengths: &[usize]) -> impl Iterator<Item = &[usize]> {
    let mut rest = lengths;
    std::iter::from_fn(move || {
        let mut sum = 0;
        let fit = rest.iter().take_while(|&&length| {
            sum += length;
            sum <= BUCKET
        });
        let (group, others) = rest.split_at(fit.count().max(1).min(rest.len()));
        rest = others;
        (!group.is_empty()).then_some(group)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_hold_what_fits_and_no_tensor_is_left_out() {
        let half = BUCKET / 2;
        let lengths = [half, half, 1, 3 * BUCKET, 7];
        let groups: Vec<&[usize]> = groups(&lengths).collect();
        assert_eq!(groups, [&lengths[..2], &lengths[2..3], &lengths[3..4], &lengths[4..]]);
    }

    #[test]
    fn addresses_are_hosts_with_ports() {
        let endpoint: Endpoint = "node-0:29500".parse().unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.port), ("node-0", 29500));
        assert_eq!(endpoint.to_string(), "node-0:29500");
        for wrong in ["node-0", ":1", "node-0:", "node-0:99999"] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }
}
