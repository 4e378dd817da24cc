//! candle-transformers' PaliGemma, stage by stage, as one line of JSON (docs/benchmarks.md).
//!
//! It composes the vision tower and the decoder as `models::paligemma` does, whose own parts
//! cannot be timed one by one. Only f32 is measured: candle is slowest at 16 bits on a CPU.

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use candle_core::{D, DType, Device, Module, Tensor};
use candle_nn::{Linear, VarBuilder};
use candle_transformers::models::{clip, gemma, paligemma, siglip};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Rows that are decoded together.
const ROWS: usize = 8;

/// Tokens decoded before the clock starts.
const WARM_UP: usize = 2;

struct Arguments {
    model: PathBuf,
    pixels: PathBuf,
    ids: Vec<u32>,
    tokens: usize,
}

struct Subject {
    vision: siglip::VisionModel,
    projector: Linear,
    decoder: gemma::Model,
    image_size: usize,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let begun = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    // When the process was started, by the clock of the one that started it.
    let started = std::env::var("PALIGEMMA_BENCH_STARTED");
    let started: f64 = started.ok().and_then(|text| text.parse().ok()).unwrap_or(begun);
    let arguments = arguments()?;
    let (mut subject, load) = timed(|| open(&arguments.model))?;
    let pixels = pixels(&arguments.pixels, subject.image_size)?;

    let features = encode(&subject, &pixels)?;
    let logits = prefill(&mut subject, &features, &arguments.ids)?;
    let token = greedy(&logits)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();

    let (features, vision) = timed(|| encode(&subject, &pixels))?;
    let (logits, prefill) = timed(|| prefill(&mut subject, &features, &arguments.ids))?;
    let last = logits.flatten_all()?.to_vec1::<f32>()?;
    let length = features.dim(1)? + arguments.ids.len();
    let alone = decode(&mut subject, (vec![token], length), arguments.tokens)?;
    // Eight pictures' prefill would take minutes: the rows are decoded after the text alone.
    subject.decoder.clear_kv_cache();
    let row = Tensor::new(arguments.ids.as_slice(), &Device::Cpu)?.unsqueeze(0)?;
    subject.decoder.forward(&row.repeat((ROWS, 1))?, 0)?;
    let rows = (0..ROWS as u32).map(|row| (token + row) % 1024).collect();
    let together = decode(&mut subject, (rows, arguments.ids.len()), arguments.tokens)?;

    let line = serde_json::json!({
        "engine": "candle-transformers",
        "version": "0.11.1",
        "dtype": "f32",
        "threads": candle_core::utils::get_num_threads(),
        "load_s": load,
        "first_token_s": now - started,
        "vision_s": vision,
        "prefill_s": prefill,
        "decode_tokens_per_s": alone,
        "batch8_tokens_per_s": together,
        "peak_rss_bytes": peak_memory(),
        "first_token": token,
        "logits_norm": last.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt(),
        "last_logits": &last[..ROWS],
    });
    println!("{line}");
    Ok(())
}

fn arguments() -> Result<Arguments> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options: HashMap<&str, &str> =
        words.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    let option = |name: &str| options.get(name).ok_or_else(|| format!("{name} is missing"));
    Ok(Arguments {
        model: option("--model")?.into(),
        pixels: option("--pixels")?.into(),
        ids: option("--ids")?.split(',').map(str::parse).collect::<std::result::Result<_, _>>()?,
        tokens: option("--tokens")?.parse()?,
    })
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let start = Instant::now();
    let value = work()?;
    Ok((value, start.elapsed().as_secs_f64()))
}

fn open(folder: &Path) -> Result<Subject> {
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?;
    let config = match config["vision_config"]["image_size"].as_u64() {
        Some(224) => paligemma::Config::paligemma_3b_224(),
        Some(448) => paligemma::Config::paligemma_3b_448(),
        _ => return Err("candle has PaliGemma 3B at 224 and 448 pixels alone".into()),
    };
    let weights = [folder.join("model.safetensors")];
    // SAFETY: the checkpoint is not written to while it is measured.
    let weights =
        unsafe { VarBuilder::from_mmaped_safetensors(&weights, DType::F32, &Device::Cpu)? };
    let (vision, text) = (&config.vision_config, &config.text_config);
    Ok(Subject {
        vision: siglip::VisionModel::new(vision, false, weights.pp("vision_tower.vision_model"))?,
        projector: candle_nn::linear(
            vision.hidden_size,
            config.projection_dim,
            weights.pp("multi_modal_projector.linear"),
        )?,
        decoder: gemma::Model::new(false, text, weights.pp("language_model"))?,
        image_size: vision.image_size,
    })
}

fn pixels(file: &Path, size: usize) -> Result<Tensor> {
    let bytes = std::fs::read(file)?;
    Ok(Tensor::from_raw_buffer(&bytes, DType::F32, &[1, 3, size, size], &Device::Cpu)?)
}

fn encode(subject: &Subject, pixels: &Tensor) -> Result<Tensor> {
    let features = subject.projector.forward(&subject.vision.forward(pixels)?)?;
    Ok(clip::div_l2_norm(&features)?)
}

/// Logits after the prompt.
fn prefill(subject: &mut Subject, features: &Tensor, ids: &[u32]) -> Result<Tensor> {
    subject.decoder.clear_kv_cache();
    let ids = Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?;
    let text = subject.decoder.embed_tokens().forward(&ids)?;
    let embeds = Tensor::cat(&[features, &text], 1)?;
    Ok(subject.decoder.forward_embeds(&embeds, None, 0)?)
}

fn greedy(logits: &Tensor) -> Result<u32> {
    Ok(logits.flatten_all()?.argmax(D::Minus1)?.to_scalar()?)
}

/// Tokens per second of all rows together, each going on with what is likeliest.
fn decode(
    subject: &mut Subject,
    (mut tokens, mut length): (Vec<u32>, usize),
    count: usize,
) -> Result<f64> {
    let rows = tokens.len();
    let mut start = Instant::now();
    for step in 0..WARM_UP + count {
        if step == WARM_UP {
            start = Instant::now();
        }
        let ids = Tensor::new(tokens.as_slice(), &Device::Cpu)?.reshape((rows, 1))?;
        let logits = subject.decoder.forward(&ids, length)?;
        tokens = logits.squeeze(1)?.argmax(D::Minus1)?.to_vec1()?;
        length += 1;
    }
    Ok((rows * count) as f64 / start.elapsed().as_secs_f64())
}

/// The most memory that this process has held, of which mapped files are a part.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}
