//! What a command line means, checked as far as it can be before any work.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use paligemma::tasks::{OCR_PROMPT, caption_prompt, detection_prompt, question_prompt};
use paligemma::{DeviceSpec, Dtype, Options, PackedFormat, Sampling};
use paligemma_processor::TokenizerError;

use crate::draw::OutFile;
use crate::error::Error;
use crate::lowargs::{AnswerArgs, ModelArgs, NameArgs, Verb};
use crate::model::ModelName;

/// What to do.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Write an answer.
    Answer { query: Query, options: Options },
    /// Look for things.
    Detect { query: Query, options: Options, out: Option<OutFile> },
    /// Weigh given answers.
    Score { query: Query, candidates: Vec<String> },
    /// Write a model with its matrices packed.
    Convert { model: ModelName, format: PackedFormat, out: PathBuf },
    /// Describe a model.
    Info { model: ModelName, json: bool },
    /// List the devices.
    Devices { json: bool },
}

/// A prompt about pictures, and the model it is for.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) model: ModelName,
    pub(crate) device: DeviceSpec,
    pub(crate) dtype: Dtype,
    pub(crate) threads: Option<NonZeroUsize>,
    pub(crate) pictures: Vec<PathBuf>,
    pub(crate) prompt: String,
    pub(crate) json: bool,
}

/// The temperature of draws where only their other options are given: the model's own
/// probabilities.
const PLAIN_TEMPERATURE: f32 = 1.0;

impl TryFrom<Verb> for Plan {
    type Error = Error;

    fn try_from(verb: Verb) -> Result<Self, Error> {
        match verb {
            Verb::Caption { image, lang, model, answer } => {
                Self::answer(vec![image], caption_prompt(&lang), model, &answer)
            }
            Verb::Ask { question, .. } if question.trim().is_empty() => Err(Error::EmptyQuestion),
            Verb::Ask { image, question, lang, model, answer } => {
                Self::answer(vec![image], question_prompt(&lang, &question), model, &answer)
            }
            Verb::Ocr { image, model, answer } => {
                Self::answer(vec![image], OCR_PROMPT.to_owned(), model, &answer)
            }
            Verb::Generate { images, prompt, model, answer } => {
                Self::answer(images, prompt, model, &answer)
            }
            Verb::Detect { image, things, out, model, answer } => {
                let things: Vec<&str> = things.split(';').collect();
                let query = query(vec![image], detection_prompt(&things)?, model, answer.json.json);
                let out = out.map(OutFile::new).transpose()?;
                Ok(Self::Detect { query: query?, options: options(&answer)?, out })
            }
            Verb::Score { images, prompt, candidates, model, json } => {
                Ok(Self::Score { query: query(images, prompt, model, json.json)?, candidates })
            }
            Verb::Convert { model, dtype, out } => {
                Ok(Self::Convert { model: name(model), format: dtype, out })
            }
            Verb::Info { model, json } => Ok(Self::Info { model: name(model), json: json.json }),
            Verb::Devices { json } => Ok(Self::Devices { json: json.json }),
        }
    }
}

impl Plan {
    fn answer(
        images: Vec<PathBuf>,
        prompt: String,
        model: ModelArgs,
        answer: &AnswerArgs,
    ) -> Result<Self, Error> {
        let query = query(images, prompt, model, answer.json.json)?;
        Ok(Self::Answer { query, options: options(answer)? })
    }
}

fn query(
    pictures: Vec<PathBuf>,
    prompt: String,
    model: ModelArgs,
    json: bool,
) -> Result<Query, Error> {
    if prompt.trim().is_empty() {
        return Err(paligemma::Error::from(TokenizerError::EmptyPrompt).into());
    }
    let ModelArgs { name: model, device, dtype, threads } = model;
    // A model may take minutes to fetch and load: first see whether it can run at all.
    device.resolve().map_err(paligemma::Error::from)?;
    Ok(Query { model: name(model), device, dtype, threads, pictures, prompt, json })
}

fn name(args: NameArgs) -> ModelName {
    ModelName {
        name: args.model,
        #[cfg(feature = "hub")]
        revision: args.revision,
    }
}

fn options(args: &AnswerArgs) -> Result<Options, Error> {
    let AnswerArgs { max_new_tokens, temperature, top_k, top_p, seed, .. } = *args;
    let draws = temperature.is_some() || top_k.is_some() || top_p.is_some() || seed.is_some();
    let temperature = temperature.unwrap_or(PLAIN_TEMPERATURE);
    let sampling =
        if draws { Sampling::Random { temperature, top_k, top_p } } else { Sampling::Greedy };
    let options = Options { max_new_tokens, sampling, seed: seed.unwrap_or_default() };
    options.check()?;
    Ok(options)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::lowargs::LowArgs;

    fn plan(line: &[&str]) -> Result<Plan, Error> {
        let words = ["paligemma"].iter().chain(line);
        Plan::try_from(LowArgs::try_parse_from(words).unwrap().verb)
    }

    fn sampling(more: &[&str]) -> Sampling {
        match plan(&[&["ocr", "a.png"], more].concat()).unwrap() {
            Plan::Answer { options, .. } => options.sampling,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn verbs_become_prompts() {
        for (line, expected) in [
            (vec!["caption", "a.png"], "caption en"),
            (vec!["caption", "a.png", "--lang", "de"], "caption de"),
            (vec!["ask", "a.png", "what?", "--lang", "fr"], "answer fr what?"),
            (vec!["ocr", "a.png"], "ocr"),
            (vec!["generate", "a.png", "b.png", "--prompt", "x"], "x"),
            (vec!["detect", "a.png", " cat;dog ; "], "detect cat ; dog"),
        ] {
            let (Plan::Answer { query, .. } | Plan::Detect { query, .. }) = plan(&line).unwrap()
            else {
                panic!("{line:?}")
            };
            assert_eq!(query.prompt, expected);
        }
    }

    #[test]
    fn any_option_of_chance_draws() {
        let random = |temperature, top_k, top_p| Sampling::Random { temperature, top_k, top_p };
        assert_eq!(sampling(&[]), Sampling::Greedy);
        assert_eq!(sampling(&["--seed", "3"]), random(1.0, None, None));
        assert_eq!(sampling(&["--top-k", "5"]), random(1.0, Some(5), None));
        assert_eq!(
            sampling(&["--top-p", "0.5", "--temperature", "0.7"]),
            random(0.7, None, Some(0.5))
        );
    }

    #[test]
    fn what_cannot_be_done_is_said_before_any_work() {
        for line in [
            vec!["ask", "a.png", " "],
            vec!["generate", "a.png", "--prompt", ""],
            vec!["detect", "a.png", " ; "],
            vec!["detect", "a.png", "cat", "--out", "a.txt"],
            vec!["detect", "a.png", "cat", "--out", "no/such/folder/a.png"],
            vec!["ocr", "a.png", "--max-new-tokens", "0"],
            vec!["ocr", "a.png", "--top-p", "2"],
        ] {
            assert!(plan(&line).is_err(), "{line:?}");
        }
    }
}
