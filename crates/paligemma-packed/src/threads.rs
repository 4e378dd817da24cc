//! The threads that compute, and what one of them takes at a time.

use std::num::NonZeroUsize;

use rayon::{ThreadPoolBuildError, ThreadPoolBuilder};

/// Products of a piece of work that is worth another thread.
const WORTH: usize = 1 << 18;
/// Pieces for each thread, where they are worth it: one that began late, or runs slower, takes
/// fewer of them.
const PIECES: usize = 16;

/// How many of `count` equal parts of some work, each of so many products, a thread takes at a time.
pub(crate) fn piece(count: usize, products: usize) -> usize {
    let worth = WORTH.div_ceil(products.max(1));
    worth.max(count / (PIECES * rayon::current_num_threads()))
}

/// Starts the threads that compute, the calling one among them.
///
/// One of them hands out parts of a product and takes some itself. A thread that is none of them is
/// put to sleep and woken again for every product, several times in each layer of each token, which
/// takes up to a tenth of the time of decoding. So a program calls this once, where its model will
/// run and before anything is computed. Where one thread does all computing, another that computes
/// must not be waited for.
///
/// There are `count` threads in all; if not given, as many as `RAYON_NUM_THREADS` says, or one for
/// each core.
///
/// # Errors
/// If threads that compute were started before, or the system has no more.
pub fn compute_here(count: Option<NonZeroUsize>) -> Result<(), ThreadPoolBuildError> {
    let count = count.map_or(0, NonZeroUsize::get);
    ThreadPoolBuilder::new().num_threads(count).use_current_thread().build_global()
}
