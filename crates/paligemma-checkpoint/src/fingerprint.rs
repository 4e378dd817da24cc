//! `Checkpoint::fingerprint`: a name for a model's weights that does not need all of them read.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::adapter::AdapterFile;
use crate::checkpoint::Checkpoint;
use crate::source::SourceTensor;

/// How many bytes from either end of a tensor's data count.
const SAMPLE: usize = 1024;

impl Checkpoint {
    /// Tells these weights from others, in 64 hexadecimal digits: a SHA-256 of every tensor's path
    /// in the modules, type, shape, and first and last 1024 bytes.
    ///
    /// Training changes all numbers of a tensor that it changes, so no trained model is taken for
    /// another one, while a file of gigabytes stays unread. It is the same in every format and under
    /// every spelling; packed weights, and a file that also carries a copy of the tied head, count as
    /// others. It is no proof against a forger.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for (path, tensor) in &self.tensors {
            count(&mut hash, path, tensor);
        }
        digits(hash)
    }
}

impl AdapterFile {
    /// Tells a model with this adapter from the one without, whose fingerprint is `base`.
    pub fn fingerprint(&self, base: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(format!("{base} {}\n", self.config().scale()));
        for (path, factors) in &self.factors {
            for factor in factors {
                count(&mut hash, path, factor);
            }
        }
        digits(hash)
    }
}

fn count(hash: &mut Sha256, path: &str, tensor: &SourceTensor) {
    hash.update(format!("{path} {} {:?}\n", tensor.elements, tensor.shape));
    let bytes = tensor.data.len();
    let ends = bytes.min(SAMPLE);
    for part in [0..ends, bytes - ends..bytes] {
        match &tensor.order {
            None => hash.update(&tensor.data[part]),
            Some(order) => {
                let size = tensor.element();
                hash.update(order.part(&tensor.data, size, part.start / size..part.end / size));
            }
        }
    }
}

fn digits(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::new(), |mut digits, byte| {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}
