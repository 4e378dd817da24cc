//! How probable given answers are.

use crate::engine::HostPrompt;
use crate::{Error, PaliGemma, Scene};

/// The most rows that are scored in one pass.
const AT_ONCE: usize = 16;

/// Positions whose keys and values are held at a time: 300 MB of a 3B model's in f32.
const POSITIONS: usize = 8192;

/// Rows of so many positions that are scored in one pass.
fn at_once(positions: usize) -> usize {
    (POSITIONS / positions.max(1)).clamp(1, AT_ONCE)
}

/// How probable a given answer is.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The answer.
    pub text: String,
    /// Its tokens with the closing `<eos>`.
    pub token_ids: Vec<u32>,
    /// The log-probability of each token after those before it.
    pub log_probabilities: Vec<f32>,
}

impl Candidate {
    /// The log-probability of the whole answer.
    pub fn total(&self) -> f32 {
        self.log_probabilities.iter().sum()
    }

    /// The mean log-probability of a token, which does not favour short answers.
    pub fn mean(&self) -> f32 {
        self.total() / self.log_probabilities.len() as f32
    }
}

impl PaliGemma {
    /// Log-probabilities of each of the `candidates`, closing `<eos>` included, as the answer to
    /// `prompt`. The pictures and the prompt are read once.
    ///
    /// # Errors
    /// If there is no candidate, the prompt is empty, something is too long, or the model's
    /// numbers are not finite.
    pub fn score(
        &self,
        scene: &Scene,
        prompt: &str,
        candidates: &[impl AsRef<str>],
    ) -> Result<Vec<Candidate>, Error> {
        if candidates.is_empty() {
            return Err(Error::Nothing { what: "candidate" });
        }
        let text = self.tokenizer().encode_prompt(prompt, 0, 0)?;
        let (usage, room) = self.room(scene, &text)?;
        let suffixes = candidates.iter().map(|candidate| self.suffix(candidate.as_ref(), room));
        let suffixes = suffixes.collect::<Result<Vec<_>, _>>()?;
        let longest = suffixes.iter().map(Vec::len).max().unwrap_or(0);
        let prompt = HostPrompt { features: &scene.features, text: &text };
        let reply = self.engine.prefill(&[prompt], longest);
        let some = suffixes.chunks(at_once(usage.prompt_tokens + longest));
        let scores = some.flat_map(|some| reply.score(some));
        let rows = candidates.iter().zip(&suffixes).zip(scores);
        rows.map(|((text, ids), scores)| self.candidate(text.as_ref(), ids, scores)).collect()
    }

    /// Log-probabilities of one candidate as the answer to `prompt` about each of the scenes, which
    /// are read together, several at a time.
    ///
    /// # Errors
    /// As [`PaliGemma::score`].
    pub fn score_each(
        &self,
        scenes: &[Scene],
        prompt: &str,
        candidate: &str,
    ) -> Result<Vec<Candidate>, Error> {
        let text = self.tokenizer().encode_prompt(prompt, 0, 0)?;
        let (mut suffix, mut positions) = (Vec::new(), 0);
        for scene in scenes {
            let (usage, room) = self.room(scene, &text)?;
            suffix = self.suffix(candidate, room)?;
            positions = positions.max(usage.prompt_tokens + suffix.len());
        }
        let mut all = Vec::with_capacity(scenes.len());
        for scenes in scenes.chunks(at_once(positions)) {
            let features = scenes.iter().map(|scene| &*scene.features);
            let prompts: Vec<HostPrompt<'_>> =
                features.map(|features| HostPrompt { features, text: &text }).collect();
            let reply = self.engine.prefill(&prompts, suffix.len());
            for scores in reply.score_rows(&vec![suffix.clone(); scenes.len()]) {
                all.push(self.candidate(candidate, &suffix, scores)?);
            }
        }
        Ok(all)
    }

    /// The tokens of an answer with its closing `<eos>`, if there is room for them.
    fn suffix(&self, text: &str, room: usize) -> Result<Vec<u32>, Error> {
        let mut suffix = self.tokenizer().encode_suffix(text)?;
        suffix.push(self.tokenizer().special().eos);
        let tokens = suffix.len();
        if tokens > room {
            return Err(Error::AnswerTooLong { text: text.to_owned(), tokens, room });
        }
        Ok(suffix)
    }

    fn candidate(&self, text: &str, ids: &[u32], scores: Vec<f32>) -> Result<Candidate, Error> {
        Error::check_finite(&scores, 0, self.dtype())?;
        Ok(Candidate { text: text.to_owned(), token_ids: ids.to_vec(), log_probabilities: scores })
    }
}

#[cfg(test)]
mod tests {
    use paligemma_processor::image::{Rgb, RgbImage};

    use super::*;
    use crate::counting::counted;

    fn scenes(model: &PaliGemma, count: u8) -> Vec<Scene> {
        let picture = |shade| RgbImage::from_pixel(112, 112, Rgb([9 * shade, 90, 200 - 5 * shade]));
        (0..count).map(|shade| model.encode(&[picture(shade)])).collect()
    }

    #[test]
    fn scenes_that_are_read_together_score_as_they_do_alone() {
        let (model, counts) = counted();
        let mut scenes = scenes(&model, 19);
        // None and two pictures: rows of other lengths.
        scenes.push(model.encode(&[]));
        let two = [7, 9].map(|side| RgbImage::new(side, side));
        scenes.push(model.encode(&two));
        counts.take();
        let text = "a large blue square";
        let together = model.score_each(&scenes, "caption en", text).unwrap();
        assert_eq!(counts.take(), [0, 2], "21 rows, 16 at a time");
        for (scene, together) in scenes.iter().zip(&together) {
            let alone = &model.score(scene, "caption en", &[text]).unwrap()[0];
            assert_eq!(alone.token_ids, together.token_ids);
            let pairs = alone.log_probabilities.iter().zip(&together.log_probabilities);
            assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-4), "{alone:?} {together:?}");
        }
        assert_eq!(model.score_each(&[], "caption en", text).unwrap(), []);
    }

    #[test]
    fn long_prompts_are_scored_fewer_at_a_time() {
        for (positions, expected) in [(0, 16), (300, 16), (600, 13), (4200, 1), (9000, 1)] {
            assert_eq!(at_once(positions), expected, "{positions}");
        }
        assert!((1..9000).all(|one| at_once(one) == 1 || at_once(one) * one <= POSITIONS));
    }

    #[test]
    fn an_answer_that_is_too_long_is_blamed_itself() {
        let (model, _) = counted();
        let scene = &scenes(&model, 1)[0];
        let long = "red circle ".repeat(600);
        let said = model.score(scene, "ocr", &["a", &long]).unwrap_err().to_string();
        assert!(said.starts_with("the answer `red circle ") && said.contains("..."), "{said}");
        assert!(said.contains("room for") && said.len() < 200, "{said}");
        let said = model.score(scene, &long, &["a"]).unwrap_err().to_string();
        assert!(said.starts_with("the prompt has "), "{said}");
    }
}
