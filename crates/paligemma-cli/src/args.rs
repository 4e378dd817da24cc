//! What several verbs take: the model and its device, how answers are made, how results are shown.

use std::num::NonZeroUsize;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use paligemma::{
    DetectionOptions, DeviceSpec, Dtype, LocationScale, Options, PaliGemma, Place, Retriever,
    Sampling, Verdict,
};
use paligemma_checkpoint::Progress;

use crate::error::Error;
use crate::model::{self, ModelName};

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
    /// Refuses a device that is not there, and starts the threads, this one among them. A model may
    /// take minutes to fetch and load, and rows are read on all threads, so this comes first.
    pub(crate) fn begin(&self) -> Result<(), Error> {
        self.device.resolve().map_err(paligemma::Error::from)?;
        paligemma::compute_here(self.threads.count).map_err(Error::Threads)
    }

    /// Finds the model, and downloads what is missing of a hub id.
    pub(crate) fn locate(&self) -> Result<Place, Error> {
        self.name.locate()
    }

    /// Opens the model that was found.
    pub(crate) fn open(&self, place: &Place) -> Result<PaliGemma, Error> {
        Ok(model::open(place, self.device, self.dtype)?)
    }

    /// Opens the model that was found as a ColPali.
    pub(crate) fn retriever(&self, place: &Place) -> Result<Retriever, Error> {
        Ok(model::open_retriever(place, self.device, self.dtype)?)
    }

    /// Looks at the model that was found.
    pub(crate) fn verify(&self, place: &Place, progress: impl FnMut(Progress<'_>)) -> Verdict {
        paligemma::verify(place, self.device, self.dtype, progress)
    }
}

/// How an answer is made, and how it is shown.
#[derive(Args, Debug)]
pub(crate) struct AnswerArgs {
    /// The most tokens that an answer has
    #[arg(long, value_name = "N", default_value_t = Options::default().max_new_tokens)]
    max_new_tokens: usize,
    /// Draw tokens at this temperature, instead of always taking the most probable
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f32>,
    /// Draw from the N most probable tokens only
    #[arg(long, value_name = "N")]
    top_k: Option<usize>,
    /// Draw from the most probable tokens that together have this probability
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f32>,
    /// Draw by this seed: the same seed gives the same answer
    #[arg(long)]
    seed: Option<u64>,
    /// Follow N answers at once instead of one (beam search), and take the best
    #[arg(long, value_name = "N", value_parser = at_once())]
    num_beams: Option<u64>,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

/// How things are looked for.
#[derive(Args, Debug)]
pub(crate) struct LookArgs {
    /// Let the model write nothing but things that were asked for, or that there are none
    #[arg(long)]
    constrained: bool,
    /// Show also boxes that overlap a surer one of the same thing
    #[arg(long)]
    keep_duplicates: bool,
    /// What a location of 1 is a fraction of: 1023, as models are trained, or 1024, as some other
    /// programs read it
    #[arg(long, value_name = "N", default_value = "1023")]
    loc_scale: LocationScale,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

impl LookArgs {
    /// What was asked for, if it can be done.
    pub(crate) fn options(&self) -> Result<DetectionOptions, Error> {
        let default = DetectionOptions::default();
        Ok(DetectionOptions {
            answer: self.answer.options()?,
            constrained: self.constrained,
            scale: self.loc_scale,
            max_overlap: default.max_overlap.filter(|_| !self.keep_duplicates),
        })
    }
}

/// How many answers are made, and which are shown.
#[derive(Args, Debug)]
pub(crate) struct SeveralArgs {
    /// Show N answers with their probabilities: draws where tokens are drawn, otherwise the best of N
    /// beams
    #[arg(long, value_name = "N", value_parser = at_once(), conflicts_with = "best_of")]
    num_answers: Option<u64>,
    /// Draw N answers, and show the one with the highest mean log-probability
    #[arg(long, value_name = "N", value_parser = at_once(), conflicts_with = "num_beams")]
    best_of: Option<u64>,
}

/// Answers that are made at once; each needs a cache of its own.
fn at_once() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..=64)
}

/// Answers to make, and how many of them to show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Several {
    pub(crate) options: Options,
    pub(crate) made: usize,
    pub(crate) shown: usize,
}

/// The temperature of draws where only their other options are given: the model's own
/// probabilities.
const PLAIN_TEMPERATURE: f32 = 1.0;

impl AnswerArgs {
    /// What was asked for, if it can be done.
    pub(crate) fn options(&self) -> Result<Options, Error> {
        self.options_with(self.draws(), 1)
    }

    /// The same for several answers.
    pub(crate) fn several(&self, several: &SeveralArgs) -> Result<Several, Error> {
        if let Some(draws) = several.best_of {
            let options = self.options_with(true, 1)?;
            return Ok(Several { options, made: draws as usize, shown: 1 });
        }
        let answers = several.num_answers.unwrap_or(1) as usize;
        let options = self.options_with(self.draws(), answers)?;
        if options.sampling == Sampling::Greedy && answers > options.num_beams {
            let beams = options.num_beams;
            return Err(paligemma::Error::TooManyAnswers { answers, beams }.into());
        }
        Ok(Several { options, made: answers, shown: answers })
    }

    /// Whether any option of chance was given.
    fn draws(&self) -> bool {
        let Self { temperature, top_k, top_p, seed, .. } = *self;
        temperature.is_some() || top_k.is_some() || top_p.is_some() || seed.is_some()
    }

    /// Options with as many beams as asked for or, where nothing is drawn, as `answers` need.
    fn options_with(&self, draws: bool, answers: usize) -> Result<Options, Error> {
        let Self { max_new_tokens, temperature, top_k, top_p, seed, num_beams, .. } = *self;
        let temperature = temperature.unwrap_or(PLAIN_TEMPERATURE);
        let sampling =
            if draws { Sampling::Random { temperature, top_k, top_p } } else { Sampling::Greedy };
        let enough = if draws { 1 } else { answers };
        let num_beams = num_beams.map_or(enough, |beams| beams as usize);
        let options =
            Options { max_new_tokens, sampling, seed: seed.unwrap_or_default(), num_beams };
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
        #[command(flatten)]
        several: SeveralArgs,
    }

    fn options(words: &[&str]) -> Result<Options, Error> {
        let line = Line::try_parse_from(["verb"].iter().chain(words)).unwrap();
        line.answer.options()
    }

    #[test]
    fn several_answers_are_beams_unless_tokens_are_drawn() {
        let several = |words: &[&str]| {
            let line = Line::try_parse_from(["verb"].iter().chain(words)).unwrap();
            let Several { options, made, shown } = line.answer.several(&line.several)?;
            Ok((options.sampling != Sampling::Greedy, options.num_beams, made, shown))
        };
        for (words, expected) in [
            (&[][..], (false, 1, 1, 1)),
            (&["--num-beams", "4"], (false, 4, 1, 1)),
            (&["--num-answers", "3"], (false, 3, 3, 3)),
            (&["--num-answers", "3", "--num-beams", "5"], (false, 5, 3, 3)),
            (&["--num-answers", "3", "--seed", "1"], (true, 1, 3, 3)),
            (&["--best-of", "4"], (true, 1, 4, 1)),
        ] {
            assert_eq!(several(words).unwrap(), expected, "{words:?}");
        }
        let refused: Result<_, Error> = several(&["--num-answers", "3", "--num-beams", "2"]);
        assert!(refused.is_err());
        for words in [
            ["--num-beams", "0", "", ""],
            ["--num-answers", "65", "", ""],
            ["--num-answers", "2", "--best-of", "2"],
            ["--num-beams", "2", "--best-of", "2"],
        ] {
            let words = words.iter().filter(|word| !word.is_empty());
            assert!(Line::try_parse_from(["verb"].iter().chain(words)).is_err());
        }
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
        assert!(options(&["--num-beams", "2", "--seed", "1"]).is_err());
    }
}
