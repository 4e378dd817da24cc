//! Image-text matching: how much likelier a picture makes a text.

use crate::tasks::caption_prompt;
use crate::{Candidate, Error, PaliGemma, Scene};

/// A text held against a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// The text.
    pub text: String,
    /// Its tokens, with the closing `<eos>`.
    pub tokens: usize,
    /// The natural logarithm of its probability as the caption of the picture.
    pub log_likelihood: f32,
    /// The same without a picture.
    pub prior: f32,
}

impl Match {
    /// The mean over the text's tokens of how many nats the picture makes each likelier
    /// (pointwise mutual information): above 0 the picture speaks for the text, below 0 against
    /// it.
    ///
    /// It orders texts for a picture and pictures for a text. It is no probability, has no value
    /// from which a text is true, and knows a text only as a caption: what captions of the
    /// training data do not say is unlikely under every picture. The models were never trained
    /// without a picture, so the prior is their decoder's guess.
    pub fn score(&self) -> f32 {
        (self.log_likelihood - self.prior) / self.tokens as f32
    }
}

/// Texts ready to be held against any number of pictures: their priors are computed once.
pub struct Matcher<'m> {
    model: &'m PaliGemma,
    texts: Vec<String>,
    prompt: String,
    priors: Vec<f32>,
}

impl PaliGemma {
    /// Holds an English text against a picture.
    ///
    /// # Errors
    /// As [`PaliGemma::matcher`].
    pub fn match_text(&self, scene: &Scene, text: &str) -> Result<Match, Error> {
        let mut matches = self.matcher(&[text])?.matches(scene)?;
        Ok(matches.swap_remove(0))
    }

    /// English texts for a picture, the best match first.
    ///
    /// # Errors
    /// As [`PaliGemma::matcher`].
    pub fn rank_texts(
        &self,
        scene: &Scene,
        texts: &[impl AsRef<str>],
    ) -> Result<Vec<Match>, Error> {
        let mut matches = self.matcher(texts)?.matches(scene)?;
        matches.sort_by(|a, b| b.score().total_cmp(&a.score()));
        Ok(matches)
    }

    /// Pictures for an English text, the best match first, each with its place in `scenes`.
    ///
    /// # Errors
    /// As [`PaliGemma::matcher`]; and if there are no pictures.
    pub fn rank_pictures(
        &self,
        scenes: &[Scene],
        text: &str,
    ) -> Result<Vec<(usize, Match)>, Error> {
        if scenes.is_empty() {
            return Err(Error::Nothing { what: "picture" });
        }
        let matcher = self.matcher(&[text])?;
        let matches = matcher.matches_each(scenes)?.into_iter().flatten();
        let mut ranked: Vec<(usize, Match)> = matches.enumerate().collect();
        ranked.sort_by(|(_, a), (_, b)| b.score().total_cmp(&a.score()));
        Ok(ranked)
    }

    /// Makes English texts ready for many pictures.
    ///
    /// # Errors
    /// If there is no text or one is blank, one is too long, or the model's numbers are not
    /// finite.
    pub fn matcher(&self, texts: &[impl AsRef<str>]) -> Result<Matcher<'_>, Error> {
        let texts: Vec<String> = texts.iter().map(|text| text.as_ref().to_owned()).collect();
        Error::check_texts("text", &texts)?;
        let prompt = caption_prompt("en");
        let priors = self.priors(&prompt, &texts)?;
        Ok(Matcher { model: self, texts, prompt, priors })
    }
}

impl Matcher<'_> {
    /// [`Matcher::matches`] of several pictures, which are read together.
    ///
    /// # Errors
    /// As [`Matcher::matches`].
    pub fn matches_each(&self, scenes: &[Scene]) -> Result<Vec<Vec<Match>>, Error> {
        match &self.texts[..] {
            // Of several texts, each picture's are scored together.
            [text] => {
                let scored = self.model.score_each(scenes, &self.prompt, text)?;
                Ok(scored.into_iter().map(|scored| self.matched(vec![scored])).collect())
            }
            _ => scenes.iter().map(|scene| self.matches(scene)).collect(),
        }
    }

    /// Every text held against a picture, in the order given; the picture is read once.
    ///
    /// # Errors
    /// If a text is too long, or the model's numbers are not finite.
    pub fn matches(&self, scene: &Scene) -> Result<Vec<Match>, Error> {
        Ok(self.matched(self.model.score(scene, &self.prompt, &self.texts)?))
    }

    fn matched(&self, scored: Vec<Candidate>) -> Vec<Match> {
        let matched = |(scored, &prior): (Candidate, &f32)| Match {
            tokens: scored.token_ids.len(),
            log_likelihood: scored.total(),
            text: scored.text,
            prior,
        };
        scored.into_iter().zip(&self.priors).map(matched).collect()
    }
}

#[cfg(test)]
mod tests {
    use paligemma_processor::image::{Rgb, RgbImage};

    use super::*;
    use crate::counting::counted;

    /// A large square of this colour on grey.
    fn picture(paint: [u8; 3]) -> RgbImage {
        RgbImage::from_fn(112, 112, |x, y| match (x, y) {
            (40..76, 30..66) => Rgb(paint),
            _ => Rgb([190, 190, 180]),
        })
    }

    const TEXTS: [&str; 3] =
        ["a large blue square", "a large red square", "a small yellow star and a large red circle"];

    #[test]
    fn texts_and_pictures_find_each_other() {
        let (model, counts) = counted();
        let [blue, red] = [[44, 84, 220], [216, 36, 40]].map(|p| model.encode(&[picture(p)]));
        assert_eq!(counts.take(), [2, 0]);
        let texts = model.rank_texts(&red, &TEXTS).unwrap();
        assert_eq!(counts.take(), [0, 2], "the picture, and no picture, for all texts");
        assert_eq!(texts[0].text, "a large red square");
        assert!(texts[0].score() > 0.0 && texts[2].score() < texts[1].score(), "{texts:?}");
        let pictures = model.rank_pictures(&[red.clone(), blue.clone()], TEXTS[0]).unwrap();
        assert_eq!(counts.take(), [0, 2], "the pictures together, and no picture");
        assert_eq!(pictures.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [1, 0]);
        let alone = model.match_text(&blue, TEXTS[0]).unwrap();
        assert!((alone.score() - pictures[0].1.score()).abs() < 1e-5);
    }

    #[test]
    fn a_score_is_the_gain_per_token() {
        let text = "x".to_owned();
        let found = Match { text, tokens: 4, log_likelihood: -2.0, prior: -8.0 };
        assert_eq!(found.score().to_bits(), 1.5_f32.to_bits());
    }

    #[test]
    fn nothing_to_match_is_refused() {
        let (model, _) = counted();
        let message = |error: Error| error.to_string();
        let none: [&str; 0] = [];
        let texts = model.rank_texts(&model.encode(&[]), &none).unwrap_err();
        assert_eq!(message(texts), "no text was given: name at least one");
        let pictures = model.rank_pictures(&[], "a cat").unwrap_err();
        assert_eq!(message(pictures), "no picture was given: name at least one");
    }
}
