//! `measure`: this project's timings of every stage, as one line of JSON (docs/benchmarks.md).

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use paligemma::{DeviceSpec, DeviceWork, Dtype, Session, Storage, highest};
use paligemma_benches::subject::{self, ROWS};
use paligemma_nn::NnBackend;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Result;

/// Tells a process when it was started, in seconds since 1970: what runs before `main` counts.
pub(crate) const STARTED: &str = "PALIGEMMA_BENCH_STARTED";

/// Tokens decoded before the clock starts.
const WARM_UP: usize = 2;

/// What a process that is measured prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) engine: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<String>,
    pub(crate) version: String,
    pub(crate) dtype: String,
    pub(crate) threads: usize,
    pub(crate) load_s: f64,
    pub(crate) first_token_s: f64,
    pub(crate) vision_s: f64,
    pub(crate) prefill_s: f64,
    pub(crate) decode_tokens_per_s: f64,
    pub(crate) batch8_tokens_per_s: f64,
    pub(crate) peak_rss_bytes: Option<u64>,
    pub(crate) first_token: u32,
    pub(crate) logits_norm: f64,
    pub(crate) last_logits: Vec<f32>,
}

/// What is measured, and where.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The checkpoint; the embedded model without it
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The format of the weights
    #[arg(long, default_value = "f32")]
    dtype: Dtype,
    /// Where the model runs: flex, ndarray, wgpu, cuda or cuda:N
    #[arg(long, default_value = "flex")]
    device: DeviceSpec,
    /// Tokens that decoding is timed over
    #[arg(long, default_value_t = 16)]
    tokens: usize,
}

/// Measures a checkpoint, or the embedded model, and prints the line.
///
/// # Errors
/// If the model cannot be opened, or the device is not there or has no such format.
pub(crate) fn run(arguments: &Arguments) -> Result {
    paligemma::compute_here(None)?;
    let Arguments { device, dtype, .. } = arguments;
    let none = || format!("{device} cannot hold a model as {dtype}: name another --dtype");
    let storage = dtype.on(device.resolve()?).ok_or_else(none)?;
    let measured = device.run(Work { arguments, storage })??;
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

struct Work<'a> {
    arguments: &'a Arguments,
    storage: Storage,
}

impl DeviceWork for Work<'_> {
    type Output = Result<Measured>;

    fn run<B: NnBackend>(self, device: B::Device) -> Self::Output {
        let Self { arguments: &Arguments { ref model, dtype, device: spec, tokens }, storage } =
            self;
        let begun = now()?;
        let started =
            std::env::var(STARTED).ok().and_then(|text| text.parse().ok()).unwrap_or(begun);
        let (subject, load) = timed(|| subject::open::<B>(model.as_deref(), storage, device));
        let subject = subject?;
        let room = WARM_UP + tokens;
        // The way to the first token warms every stage up.
        let token = greedy(&subject.prefill(&subject.encode(), room))[0];
        let first_token_s = now()? - started;

        let (features, vision) = timed(|| subject.encode());
        let ((session, last), prefill) = timed(|| subject.read(&features, room));
        let last: Vec<f32> = last.into_data().iter::<f32>().collect();
        let rows = (0..ROWS as u32).map(|row| (token + row) % 1024).collect();
        let batch = decode(session.fork(ROWS), rows, tokens);
        let alone = decode(session, vec![token], tokens);
        Ok(Measured {
            engine: "paligemma".to_owned(),
            device: Some(spec.to_string()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            dtype: dtype.to_string(),
            threads: rayon::current_num_threads(),
            load_s: load.as_secs_f64(),
            first_token_s,
            vision_s: vision.as_secs_f64(),
            prefill_s: prefill.as_secs_f64(),
            decode_tokens_per_s: alone,
            batch8_tokens_per_s: batch,
            peak_rss_bytes: peak_memory(),
            first_token: token,
            logits_norm: last.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt(),
            last_logits: last[..8].to_vec(),
        })
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = work();
    (value, start.elapsed())
}

/// Tokens per second of all rows together, each going on with what is likeliest.
fn decode<B: NnBackend>(mut session: Session<'_, B>, mut tokens: Vec<u32>, count: usize) -> f64 {
    let mut start = Instant::now();
    for step in 0..WARM_UP + count {
        if step == WARM_UP {
            start = Instant::now();
        }
        session.advance(&tokens);
        tokens = greedy(&session);
    }
    (tokens.len() * count) as f64 / start.elapsed().as_secs_f64()
}

/// The likeliest next token of each row.
fn greedy<B: NnBackend>(session: &Session<'_, B>) -> Vec<u32> {
    let logits = session.logits();
    let [_, vocabulary] = logits.dims();
    let values: Vec<f32> = logits.into_data().into_vec().unwrap_or_default();
    values.par_chunks(vocabulary).map(highest).collect()
}

/// The most memory that this process has held, of which mapped files are a part; Linux alone says.
pub(crate) fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}
