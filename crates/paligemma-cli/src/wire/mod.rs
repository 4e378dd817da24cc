//! What `--json` prints: the shapes that other programs read, converted by hand.

mod eval;
mod import;
mod pages;
mod retrieve;
mod segment;
mod verify;

use std::collections::BTreeMap;
use std::path::Path;

use paligemma::{Architecture, Candidate, DetectedBox, DeviceSpec, DeviceStatus, FinishReason};
use serde::Serialize;

pub(crate) use eval::{Eval, EvalFile};
pub(crate) use import::Import;
pub(crate) use pages::Pages;
pub(crate) use segment::Segmentation;
pub(crate) use verify::Verified;

use crate::{session, verbs};

pub(crate) use retrieve::{Classes, Embeddings, Indexed, Match, Matches, Search};

/// `caption`, `ask`, `ocr`, `generate`.
#[derive(Serialize)]
pub(crate) struct Answer<'a> {
    text: &'a str,
    token_ids: &'a [u32],
    finish_reason: &'static str,
    usage: Usage,
    timings: Timings,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names that readers of the object expect")]
struct Usage {
    prompt_tokens: usize,
    image_tokens: usize,
    completion_tokens: usize,
}

#[derive(Serialize)]
struct Timings {
    load_seconds: f64,
    encode_seconds: f64,
    first_token_seconds: f64,
    total_seconds: f64,
    tokens_per_second: Option<f64>,
}

/// The same, with `--num-answers`: best first.
#[derive(Serialize)]
pub(crate) struct Answers<'a> {
    answers: Vec<OneAnswer<'a>>,
    timings: Timings,
}

#[derive(Serialize)]
struct OneAnswer<'a> {
    text: &'a str,
    token_ids: &'a [u32],
    total: f32,
    mean: f32,
    probability: f32,
}

/// `detect`.
#[derive(Serialize)]
pub(crate) struct Detection<'a> {
    #[serde(flatten)]
    answer: Answer<'a>,
    boxes: Vec<Box<'a>>,
}

#[derive(Serialize)]
struct Box<'a> {
    label: &'a str,
    x0: f32,
    y0: f32,
    x1: f32,
    y1: f32,
    confidence: f32,
}

/// `watch`.
#[derive(Serialize)]
pub(crate) struct Watched<'a> {
    #[serde(flatten)]
    answer: Answer<'a>,
    /// Places of the frames looked at, from zero.
    frames: &'a [usize],
}

/// `batch`.
#[derive(Serialize)]
pub(crate) struct Batch {
    rows: usize,
    answered: usize,
    failed: usize,
    out: String,
}

/// `score`.
#[derive(Serialize)]
pub(crate) struct Scores<'a> {
    candidates: Vec<Score<'a>>,
}

#[derive(Serialize)]
struct Score<'a> {
    text: &'a str,
    token_ids: &'a [u32],
    logprobs: &'a [f32],
    total: f32,
    mean: f32,
}

/// `devices`.
#[derive(Serialize)]
pub(crate) struct Devices {
    auto: String,
    devices: Vec<Device>,
}

#[derive(Serialize)]
struct Device {
    name: String,
    usable: bool,
    /// What it is, or why it cannot be used.
    description: String,
}

/// `info`; what could not be read is null, and `problems` says why.
#[derive(Serialize)]
pub(crate) struct Info<'a> {
    model: &'a str,
    /// `config.json` with every default supplied.
    config: Option<serde_json::Value>,
    /// Width of a ColPali's vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding_dim: Option<usize>,
    parameters: Option<usize>,
    weights: Option<Weights<'a>>,
    tokenizer: Option<Tokenizer>,
    memory: Memory,
    problems: Vec<String>,
}

/// What the model takes on the CPU, in bytes.
#[derive(Serialize)]
struct Memory {
    /// What there is; none where the system does not say.
    available: Option<u64>,
    /// By dtype.
    needs: BTreeMap<String, Needs>,
}

#[derive(Serialize)]
struct Needs {
    total: u64,
    weights: u64,
    mapped: u64,
    cache: u64,
    activations: u64,
    program: u64,
}

#[derive(Serialize)]
struct Weights<'a> {
    layout: &'static str,
    tensors: usize,
    files: usize,
    bytes: u64,
    dtypes: &'a BTreeMap<String, usize>,
    unused: Vec<Unused<'a>>,
}

#[derive(Serialize)]
struct Unused<'a> {
    name: &'a str,
    reason: &'static str,
}

#[derive(Serialize)]
struct Tokenizer {
    tokens: usize,
    bos: u32,
    eos: u32,
    pad: u32,
    image: u32,
    newline: u32,
}

impl<'a> Answer<'a> {
    pub(crate) fn new(answer: &'a paligemma::Answer, timings: session::Timings) -> Self {
        let paligemma::Usage { prompt_tokens, image_tokens, completion_tokens } = answer.usage;
        Self {
            text: &answer.text,
            token_ids: &answer.token_ids,
            finish_reason: match answer.finish_reason {
                FinishReason::Stop => "stop",
                FinishReason::Length => "length",
            },
            usage: Usage { prompt_tokens, image_tokens, completion_tokens },
            timings: Timings::new(timings),
        }
    }
}

impl Timings {
    fn new(timings: session::Timings) -> Self {
        Self {
            load_seconds: timings.load.as_secs_f64(),
            encode_seconds: timings.encode.as_secs_f64(),
            first_token_seconds: timings.first_token.as_secs_f64(),
            total_seconds: timings.total.as_secs_f64(),
            tokens_per_second: timings.tokens_per_second,
        }
    }
}

impl<'a> Answers<'a> {
    pub(crate) fn new(answers: &'a [paligemma::Answer], timings: session::Timings) -> Self {
        let wire = |answer: &'a paligemma::Answer| OneAnswer {
            text: &answer.text,
            token_ids: &answer.token_ids,
            total: answer.total(),
            mean: answer.mean(),
            probability: answer.probability(),
        };
        Self { answers: answers.iter().map(wire).collect(), timings: Timings::new(timings) }
    }
}

impl<'a> Detection<'a> {
    pub(crate) fn new(
        answer: &'a paligemma::Answer,
        timings: session::Timings,
        boxes: &'a [DetectedBox],
    ) -> Self {
        Self { answer: Answer::new(answer, timings), boxes: boxes.iter().map(Box::new).collect() }
    }
}

impl<'a> Box<'a> {
    fn new(found: &'a DetectedBox) -> Self {
        let DetectedBox { ref label, x0, y0, x1, y1, confidence } = *found;
        Self { label, x0, y0, x1, y1, confidence }
    }
}

impl<'a> Watched<'a> {
    pub(crate) fn new(
        answer: &'a paligemma::Answer,
        timings: session::Timings,
        frames: &'a [usize],
    ) -> Self {
        Self { answer: Answer::new(answer, timings), frames }
    }
}

impl Batch {
    pub(crate) fn new(rows: usize, failed: usize, out: &Path) -> Self {
        Self { rows, answered: rows - failed, failed, out: out.to_string_lossy().into_owned() }
    }
}

impl<'a> Scores<'a> {
    pub(crate) fn new(candidates: &'a [Candidate]) -> Self {
        let wire = |candidate: &'a Candidate| Score {
            text: &candidate.text,
            token_ids: &candidate.token_ids,
            logprobs: &candidate.log_probabilities,
            total: candidate.total(),
            mean: candidate.mean(),
        };
        Self { candidates: candidates.iter().map(wire).collect() }
    }
}

impl Devices {
    pub(crate) fn new(all: &[DeviceStatus], auto: DeviceSpec) -> Self {
        let wire = |DeviceStatus { device, status }: &DeviceStatus| Device {
            name: device.to_string(),
            usable: status.is_ok(),
            description: status.clone().unwrap_or_else(|reason| reason.to_string()),
        };
        Self { auto: auto.to_string(), devices: all.iter().map(wire).collect() }
    }
}

impl<'a> Info<'a> {
    pub(crate) fn new(info: &'a verbs::Info) -> Self {
        let config = info.architecture.as_ref().map(|known| known.vlm().to_json());
        Self {
            model: &info.model,
            config: config.and_then(|json| serde_json::from_str(&json).ok()),
            embedding_dim: match info.architecture {
                Some(Architecture::ColPali(ref config)) => Some(config.embedding_dim),
                _ => None,
            },
            parameters: info.parameters,
            weights: info.weights.as_ref().map(Weights::new),
            tokenizer: info.tokenizer.as_ref().map(Tokenizer::new),
            memory: Memory::new(&info.needs),
            problems: info.problems.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Memory {
    fn new(needs: &[(paligemma::Dtype, paligemma::Needs)]) -> Self {
        let one = |(dtype, needs): &(paligemma::Dtype, paligemma::Needs)| {
            let paligemma::Needs { weights, mapped, cache, activations, program } = *needs;
            let total = needs.total();
            let needs = Needs { total, weights, mapped, cache, activations, program };
            (dtype.to_string(), needs)
        };
        Self { available: paligemma::available_memory(), needs: needs.iter().map(one).collect() }
    }
}

impl<'a> Weights<'a> {
    fn new(weights: &'a verbs::Weights) -> Self {
        let unused = weights.unused.iter();
        Self {
            layout: weights.layout,
            tensors: weights.tensors,
            files: weights.files,
            bytes: weights.bytes,
            dtypes: &weights.dtypes,
            unused: unused.map(|u| Unused { name: &u.file_name, reason: u.reason }).collect(),
        }
    }
}

impl Tokenizer {
    fn new(tokenizer: &paligemma_processor::Tokenizer) -> Self {
        let paligemma_processor::SpecialTokens { bos, eos, pad, image, newline } =
            *tokenizer.special();
        Self { tokens: tokenizer.vocab_size(), bos, eos, pad, image, newline }
    }
}
