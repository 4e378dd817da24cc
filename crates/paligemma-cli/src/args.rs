//! What several verbs take: the model and its device, how answers are made, how results are shown.

use std::num::NonZeroUsize;

use clap::Args;
use paligemma::{DeviceSpec, Dtype, Options, PaliGemma, Sampling};

use crate::error::Error;
use crate::model::{ModelName, Place};

/// Which model, and what it runs on.
#[derive(Args, Debug)]
pub(crate) struct ModelArgs {
    #[command(flatten)]
    name: ModelName,
    /// auto, flex, ndarray, wgpu, cuda or cuda:N
    #[arg(long, default_value_t)]
    device: DeviceSpec,
    /// auto, f32, f16, bf16, int8 or int4
    #[arg(long, default_value_t)]
    dtype: Dtype,
    #[command(flatten)]
    threads: Threads,
}

/// What a CPU computes with.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Threads {
    /// How many threads compute on a CPU; all cores if not given
    #[arg(long = "threads", value_name = "N")]
    count: Option<NonZeroUsize>,
}

impl Threads {
    /// Starts them, before anything is computed.
    pub(crate) fn start(self) -> Result<(), Error> {
        let Some(count) = self.count else { return Ok(()) };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(count.get());
        pool.build_global().map_err(Error::Threads)
    }
}

impl ModelArgs {
    /// Refuses a device that is not there. A model may take minutes to fetch and load, so this is
    /// asked first.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.device.resolve().map_err(paligemma::Error::from)?;
        Ok(())
    }

    /// Finds the model, and downloads what is missing of a hub id.
    pub(crate) fn locate(&self) -> Result<Place, Error> {
        self.name.locate()
    }

    /// What tells its weights from those of other models.
    pub(crate) fn identity(&self) -> String {
        format!("{} in {}", self.name.identity(), self.dtype)
    }

    /// Opens the model that was found.
    pub(crate) fn open(&self, place: &Place) -> Result<PaliGemma, Error> {
        self.threads.start()?;
        Ok(place.open(self.device, self.dtype)?)
    }
}

/// How an answer is made, and how it is shown.
#[derive(Args, Debug)]
pub(crate) struct AnswerArgs {
    /// The most tokens that an answer has
    #[arg(long, value_name = "N", default_value_t = Options::default().max_new_tokens)]
    max_new_tokens: usize,
    /// Draw tokens at this temperature, instead of always taking the most probable
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,
    /// Draw from the N most probable tokens only
    #[arg(long, value_name = "N")]
    top_k: Option<usize>,
    /// Draw from the most probable tokens that together have this probability
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Draw by this seed: the same seed gives the same answer
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

/// The temperature of draws where only their other options are given: the model's own
/// probabilities.
const PLAIN_TEMPERATURE: f32 = 1.0;

impl AnswerArgs {
    /// What was asked for, if it can be done.
    pub(crate) fn options(&self) -> Result<Options, Error> {
        let Self { max_new_tokens, temperature, top_k, top_p, seed, .. } = *self;
        let draws = temperature.is_some() || top_k.is_some() || top_p.is_some() || seed.is_some();
        let temperature = temperature.unwrap_or(PLAIN_TEMPERATURE);
        let sampling =
            if draws { Sampling::Random { temperature, top_k, top_p } } else { Sampling::Greedy };
        let options = Options { max_new_tokens, sampling, seed: seed.unwrap_or_default() };
        options.check()?;
        Ok(options)
    }
}

/// How results are shown.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct JsonArgs {
    /// Print one JSON object and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        answer: AnswerArgs,
    }

    fn options(words: &[&str]) -> Result<Options, Error> {
        let line = Line::try_parse_from(["verb"].iter().chain(words)).unwrap();
        line.answer.options()
    }

    #[test]
    fn any_option_of_chance_draws() {
        let random = |temperature, top_k, top_p| Sampling::Random { temperature, top_k, top_p };
        for (words, expected) in [
            (&[][..], Sampling::Greedy),
            (&["--seed", "3"], random(1.0, None, None)),
            (&["--top-k", "5"], random(1.0, Some(5), None)),
            (&["--top-p", "0.5", "--temperature", "0.7"], random(0.7, None, Some(0.5))),
        ] {
            assert_eq!(options(words).unwrap().sampling, expected);
        }
    }

    #[test]
    fn options_out_of_range_are_refused() {
        assert!(options(&["--max-new-tokens", "0"]).is_err());
        assert!(options(&["--top-p", "2"]).is_err());
    }
}
