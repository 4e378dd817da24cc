//! `info`: what a model is, read from its files without loading it, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::PathBuf;

use clap::Args;
use paligemma::{
    Architecture, Dtype, Error as ModelError, Fit, Needs, PackedFormat, PaliGemma, Place, Size,
    available_memory, fit, needs, pocket,
};
use paligemma_checkpoint::{Checkpoint, ColPaliConfig, Ignored, PaliGemmaConfig};
use paligemma_processor::Tokenizer;

use crate::args::JsonArgs;
use crate::error::Error;
use crate::model::ModelName;
use crate::{output, wire};

/// What a model that is not packed can be held in.
const DTYPES: [Dtype; 4] = [Dtype::F32, Dtype::Bf16, Dtype::Int8, Dtype::Int4];

/// The dtype of packed files.
fn dtype(format: PackedFormat) -> Dtype {
    match format {
        PackedFormat::Bf16 => Dtype::Bf16,
        PackedFormat::Int8 => Dtype::Int8,
        PackedFormat::Int4 => Dtype::Int4,
    }
}

/// What is known of a model; what could not be read is in `problems`.
#[derive(Debug, Default)]
pub(crate) struct Info {
    pub(crate) model: String,
    pub(crate) architecture: Option<Architecture>,
    /// Numbers in a model of this configuration.
    pub(crate) parameters: Option<usize>,
    pub(crate) weights: Option<Weights>,
    pub(crate) tokenizer: Option<Tokenizer>,
    /// What the model takes in each dtype on the CPU, as far as it can be had in it.
    pub(crate) needs: Vec<(Dtype, Needs)>,
    pub(crate) problems: Vec<ModelError>,
}

/// What the weights' files hold.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) layout: &'static str,
    pub(crate) tensors: usize,
    pub(crate) files: usize,
    pub(crate) bytes: u64,
    /// How many tensors have each type.
    pub(crate) dtypes: BTreeMap<String, usize>,
    /// Tensors that are not recognised, or not needed.
    pub(crate) unused: Vec<Ignored>,
}

/// A model to describe.
#[derive(Args, Debug)]
pub(crate) struct InfoVerb {
    #[command(flatten)]
    model: ModelName,
    #[command(flatten)]
    json: JsonArgs,
}

impl InfoVerb {
    /// Describes a model, in the order in which one is opened; its first problem is the error,
    /// after all that was found is printed.
    pub(crate) fn run(self) -> Result<(), Error> {
        let mut info = Info::of(&self.model.locate()?);
        if self.json.json {
            output::json(&wire::Info::new(&info))?;
        } else {
            output::table(&info.rows())?;
        }
        if info.problems.is_empty() { Ok(()) } else { Err(info.problems.swap_remove(0).into()) }
    }
}

impl Info {
    fn of(place: &Place) -> Self {
        let mut info = Self { model: place.to_string(), ..Self::default() };
        info.architecture = info.keep(place.architecture());
        if let Some(architecture) = info.architecture.clone() {
            info.tokenizer = info.keep(place.tokenizer(architecture.vlm()));
            if let Some(tokenizer) = info.tokenizer.clone() {
                info.keep(PaliGemma::check_tokenizer(architecture.vlm(), &tokenizer));
            }
        }
        let checkpoint = info.keep(place.checkpoint());
        info.weights = checkpoint.as_ref().map(Weights::of);
        info.fit(checkpoint.as_ref());
        info.estimate(checkpoint.as_ref());
        info
    }

    /// Tells the memory that the model takes.
    fn estimate(&mut self, checkpoint: Option<&Checkpoint>) {
        let Some(architecture) = self.architecture.clone() else { return };
        let packed = checkpoint.and_then(Checkpoint::packed_format);
        let dtypes = packed.map_or_else(|| DTYPES.to_vec(), |format| vec![dtype(format)]);
        for dtype in dtypes {
            let needs = self.keep(needs(architecture.vlm(), dtype, checkpoint));
            self.needs.extend(needs.map(|needs| (dtype, needs)));
        }
    }

    /// Counts the parameters, and finds out whether the weights are the configuration's.
    fn fit(&mut self, checkpoint: Option<&Checkpoint>) {
        let Some(architecture) = &self.architecture else { return };
        let fit = fit(architecture, checkpoint);
        let Some(Fit { parameters, weights }) = self.keep(fit) else { return };
        self.parameters = Some(parameters);
        let report = weights.and_then(|weights| self.keep(weights));
        if let Some((report, weights)) = report.zip(self.weights.as_mut()) {
            weights.unused = report.ignored;
        }
    }

    /// What a person reads, as names and values.
    fn rows(&self) -> Vec<[String; 2]> {
        let mut rows = vec![row("model", &self.model)];
        if let Some(architecture) = &self.architecture {
            let PaliGemmaConfig { vision, text, .. } = architecture.vlm();
            let (side, patch, tokens) =
                (vision.image_size, vision.patch_size, vision.num_patches());
            rows.push(row(
                "pictures",
                format_args!("{side} x {side} pixels in patches of {patch}, {tokens} tokens each"),
            ));
            rows.push(row(
                "vision",
                format_args!(
                    "{} layers, width {}, feed-forward {}, {} heads",
                    vision.num_hidden_layers,
                    vision.hidden_size,
                    vision.intermediate_size,
                    vision.num_attention_heads
                ),
            ));
            rows.push(row(
                "text",
                format_args!(
                    "{} layers, width {}, feed-forward {}, {} heads of {}, {} for keys and values",
                    text.num_hidden_layers,
                    text.hidden_size,
                    text.intermediate_size,
                    text.num_attention_heads,
                    text.head_dim,
                    text.num_key_value_heads
                ),
            ));
            rows.push(row("generation", generation(architecture.vlm())));
            if let Architecture::ColPali(ColPaliConfig { embedding_dim, .. }) = architecture {
                let head =
                    format_args!("ColPali, a vector of {embedding_dim} numbers for each token");
                rows.push(row("head", head));
            }
            rows.push(row("positions", text.max_position_embeddings));
            rows.push(row("vocabulary", text.vocab_size));
        }
        rows.extend(self.tokenizer.as_ref().map(|known| row("tokenizer", known.vocab_size())));
        rows.extend(self.parameters.map(|count| row("parameters", count)));
        rows.extend(self.weights.iter().flat_map(Weights::rows));
        rows.extend(self.memory());
        rows.extend(self.problems.iter().map(|problem| row("problem", problem)));
        rows
    }

    /// What the model takes, and what there is.
    fn memory(&self) -> Option<[String; 2]> {
        let one = |(dtype, needs): &(Dtype, Needs)| match needs.mapped {
            0 => format!("{dtype} {}", Size(needs.total())),
            mapped => format!("{dtype} {} ({} mapped)", Size(needs.total()), Size(mapped)),
        };
        let needs: Vec<String> = self.needs.iter().map(one).collect();
        let free = available_memory().map(|free| format!("; {} are free", Size(free)));
        let all = || format!("{}{}", needs.join(", "), free.unwrap_or_default());
        (!needs.is_empty()).then(|| row("memory", all()))
    }

    fn keep<T>(&mut self, result: Result<T, impl Into<ModelError>>) -> Option<T> {
        result.map_err(|problem| self.problems.push(problem.into())).ok()
    }
}

/// Which PaliGemma it is, with what its second generation may be without.
fn generation(PaliGemmaConfig { text, .. }: &PaliGemmaConfig) -> String {
    if !text.post_norms {
        return "PaliGemma".to_owned();
    }
    let known = |value: Option<f64>| value.map_or_else(|| "no".to_owned(), |cap| cap.to_string());
    let window = text.sliding_window.map_or_else(|| "no".to_owned(), |width| width.to_string());
    format!(
        "PaliGemma 2, soft caps: attention {}, logits {}, window {window}",
        known(text.attn_logit_softcapping),
        known(text.final_logit_softcapping)
    )
}

impl Weights {
    fn of(checkpoint: &Checkpoint) -> Self {
        let mut weights = Self {
            layout: checkpoint.layout().name,
            tensors: 0,
            files: 0,
            bytes: 0,
            dtypes: BTreeMap::new(),
            unused: Vec::new(),
        };
        let mut files = BTreeSet::new();
        for tensor in checkpoint.tensors() {
            weights.tensors += 1;
            *weights.dtypes.entry(tensor.elements.to_string().to_lowercase()).or_default() += 1;
            if tensor.module_path.is_none() {
                let reason = "no part of PaliGemma";
                weights.unused.push(Ignored { file_name: tensor.file_name, reason });
            }
            files.insert(tensor.file);
        }
        weights.files = files.len();
        weights.bytes = files.iter().map(bytes).sum();
        weights
    }

    fn rows(&self) -> Vec<[String; 2]> {
        let Self { tensors, files, .. } = self;
        let noun = if *files == 1 { "file" } else { "files" };
        let megabytes = self.bytes as f64 / 1e6;
        let dtypes = self.dtypes.iter().map(|(dtype, count)| format!("{count} x {dtype}"));
        let mut rows = vec![
            row("tensors", tensors),
            row("size", format_args!("{megabytes:.1} MB in {files} {noun}")),
            row("types", dtypes.collect::<Vec<_>>().join(", ")),
            row("names", self.layout),
        ];
        let unused = |tensor: &Ignored| {
            let Ignored { file_name, reason } = tensor;
            row("not used", format_args!("{file_name} ({reason})"))
        };
        rows.extend(self.unused.iter().map(unused));
        rows
    }
}

fn row(name: &str, value: impl Display) -> [String; 2] {
    [name.to_owned(), value.to_string()]
}

/// The size of a file of weights; those that are embedded have no file.
fn bytes(file: &PathBuf) -> u64 {
    let embedded = pocket::WEIGHTS.len() as u64;
    std::fs::metadata(file).map_or(embedded, |metadata| metadata.len())
}
