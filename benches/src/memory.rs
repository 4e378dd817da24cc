//! How fast memory is at the moment, which on a machine shared with others is not always the same.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that are read in one pass: far more than caches hold.
const SIZE: usize = 512 << 20;

/// Passes, of which the median counts.
const PASSES: usize = 9;

/// How long is waited between two looks at memory that is too slow.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks before memory is taken as it is.
const LOOKS: usize = 60;

/// Something large to read.
pub(crate) struct Memory {
    words: Vec<u64>,
    threads: usize,
}

impl Memory {
    /// For that many threads, as many as what is measured has.
    pub(crate) fn new(threads: u32) -> Self {
        // Numbers other than zero, for which the system would give one page many times.
        Self { words: vec![1; SIZE / size_of::<u64>()], threads: threads as usize }
    }

    /// What all threads together read, in GB (10^9 bytes) per second.
    pub(crate) fn rate(&self) -> f64 {
        let mut seconds: Vec<f64> = (0..PASSES).map(|_| self.pass().as_secs_f64()).collect();
        seconds.sort_by(f64::total_cmp);
        SIZE as f64 / seconds[PASSES / 2] * 1e-9
    }

    /// Waits for memory that reads `least` GB per second, a minute at most, and says what it reads.
    pub(crate) fn wait(&self, least: f64) -> f64 {
        let mut rate = self.rate();
        for _ in 1..LOOKS {
            if rate >= least {
                break;
            }
            thread::sleep(PAUSE);
            rate = self.rate();
        }
        rate
    }

    fn pass(&self) -> Duration {
        let start = Instant::now();
        thread::scope(|scope| {
            for part in self.words.chunks(self.words.len().div_ceil(self.threads)) {
                scope.spawn(move || black_box(part.iter().fold(0, |sum: u64, word| sum ^ word)));
            }
        });
        start.elapsed()
    }
}
