//! Zero-shot classification: which of the given labels is the likeliest answer.

use crate::{Candidate, Error, PaliGemma, Scene};

/// How labels are weighed.
#[derive(Clone, Debug, PartialEq)]
pub struct Classify {
    /// The prompt that a label answers, as the model was trained on it. That of
    /// [`Classify::default`] is a free question, which the `mix` checkpoints take; the embedded
    /// model was never asked it, and answers it hardly better than chance (docs/tasks.md).
    pub template: String,
    /// Weighs a label by its mean log-likelihood per token, so that long labels are no less likely
    /// for their length.
    pub normalised: bool,
    /// Weighs a label by how much likelier the picture makes it: its log-likelihood less that of
    /// the same answer to the same prompt without any picture.
    ///
    /// It takes away the model's taste for common words. The models were never trained without a
    /// picture, so this prior is what their decoder makes of the prompt alone, and no frequency of
    /// anything.
    pub calibrated: bool,
}

impl Default for Classify {
    fn default() -> Self {
        let template = "answer en what is this?".to_owned();
        Self { template, normalised: false, calibrated: false }
    }
}

/// A label and how well it fits.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// The label.
    pub text: String,
    /// Its tokens, with the closing `<eos>`.
    pub tokens: usize,
    /// The natural logarithm of its probability as the whole answer.
    pub log_likelihood: f32,
    /// The same without the picture; none unless calibrated.
    pub prior: Option<f32>,
    /// Its share among the given labels, 0..=1: the softmax of what they are weighed by. It says
    /// nothing of labels that were not given.
    pub probability: f32,
}

/// Labels ready to be weighed for any number of pictures: priors are computed once.
pub struct Classifier<'m> {
    model: &'m PaliGemma,
    labels: Vec<String>,
    how: Classify,
    priors: Option<Vec<f32>>,
}

impl PaliGemma {
    /// Weighs `labels` for a picture, likeliest first. The picture and the prompt are read once
    /// for all labels, and the prompt once more if calibrated.
    ///
    /// # Errors
    /// As [`PaliGemma::classifier`] and [`Classifier::classify`].
    pub fn classify(
        &self,
        scene: &Scene,
        labels: &[impl AsRef<str>],
        how: &Classify,
    ) -> Result<Vec<Label>, Error> {
        self.classifier(labels, how)?.classify(scene)
    }

    /// Makes labels ready for many pictures.
    ///
    /// # Errors
    /// If there is no label or one is blank, the template is empty or has a `{}` (a label is the
    /// answer to the prompt, not a part of it), something is too long, or the model's numbers are
    /// not finite.
    pub fn classifier(
        &self,
        labels: &[impl AsRef<str>],
        how: &Classify,
    ) -> Result<Classifier<'_>, Error> {
        let labels: Vec<String> = labels.iter().map(|label| label.as_ref().to_owned()).collect();
        Error::check_texts("label", &labels)?;
        if how.template.contains("{}") {
            return Err(Error::Template { template: how.template.clone() });
        }
        let priors = how.calibrated.then(|| self.priors(&how.template, &labels)).transpose()?;
        Ok(Classifier { model: self, labels, how: how.clone(), priors })
    }

    /// The log-likelihood of each text as the answer to `prompt` without a picture.
    pub(crate) fn priors(&self, prompt: &str, texts: &[String]) -> Result<Vec<f32>, Error> {
        let scored = self.score(&self.encode(&[]), prompt, texts)?;
        Ok(scored.iter().map(Candidate::total).collect())
    }
}

impl Classifier<'_> {
    /// Weighs the labels for a picture, likeliest first; equals in the order given.
    ///
    /// # Errors
    /// If something is too long, or the model's numbers are not finite.
    pub fn classify(&self, scene: &Scene) -> Result<Vec<Label>, Error> {
        let scored = self.model.score(scene, &self.how.template, &self.labels)?;
        let prior = |label: usize| self.priors.as_ref().map(|priors| priors[label]);
        let weight = |(i, label): (usize, &Candidate)| {
            let weight = label.total() - prior(i).unwrap_or(0.0);
            if self.how.normalised { weight / label.token_ids.len() as f32 } else { weight }
        };
        let weights: Vec<f32> = scored.iter().enumerate().map(weight).collect();
        let probabilities = softmax(&weights);
        let mut labels: Vec<Label> = scored
            .into_iter()
            .enumerate()
            .map(|(i, label)| Label {
                tokens: label.token_ids.len(),
                log_likelihood: label.total(),
                text: label.text,
                prior: prior(i),
                probability: probabilities[i],
            })
            .collect();
        labels.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        Ok(labels)
    }
}

/// Shares in proportion to the exponentials.
fn softmax(weights: &[f32]) -> Vec<f32> {
    let highest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shares: Vec<f32> = weights.iter().map(|weight| (weight - highest).exp()).collect();
    let sum: f32 = shares.iter().sum();
    shares.into_iter().map(|share| share / sum).collect()
}

#[cfg(test)]
mod tests {
    use paligemma_processor::image::{Rgb, RgbImage};

    use super::*;
    use crate::counting::counted;

    const COLOURS: [&str; 8] =
        ["red", "green", "blue", "yellow", "orange", "purple", "black", "white"];

    /// A large blue square on grey.
    fn picture() -> RgbImage {
        RgbImage::from_fn(112, 112, |x, y| match (x, y) {
            (40..76, 30..66) => Rgb([44, 84, 220]),
            _ => Rgb([190, 190, 180]),
        })
    }

    #[test]
    fn many_labels_cost_one_encode_and_one_prefill() {
        let (model, counts) = counted();
        let labels: Vec<String> = (0..50).map(|i| format!("{} {i}", COLOURS[i % 8])).collect();
        let scene = model.encode(&[picture()]);
        let plain = model.classify(&scene, &labels, &Classify::default()).unwrap();
        assert_eq!((plain.len(), counts.take()), (50, [1, 1]));
        let how = Classify { calibrated: true, ..Classify::default() };
        model.classify(&scene, &labels, &how).unwrap();
        assert_eq!(counts.take(), [0, 2], "the picture's prompt, and the prompt alone");
        let classifier = model.classifier(&labels, &how).unwrap();
        (0..3).for_each(|_| drop(classifier.classify(&scene).unwrap()));
        assert_eq!(counts.take(), [0, 4], "one prior for three pictures");
    }

    #[test]
    fn the_likeliest_label_comes_first_and_weights_are_what_they_say() {
        let (model, _) = counted();
        let scene = model.encode(&[picture()]);
        let template = "answer en what color is the square?".to_owned();
        for (normalised, calibrated) in [(false, false), (true, false), (false, true), (true, true)]
        {
            let how = Classify { template: template.clone(), normalised, calibrated };
            let labels = model.classify(&scene, &COLOURS, &how).unwrap();
            assert_eq!(labels[0].text, "blue", "{labels:?}");
            let scored = model.score(&scene, &template, &COLOURS).unwrap();
            let weight = |label: &Label| {
                let of = scored.iter().find(|scored| scored.text == label.text).unwrap();
                assert!((of.total() - label.log_likelihood).abs() < 1e-4, "{label:?}");
                assert_eq!(label.prior.is_some(), calibrated);
                let weight = label.log_likelihood - label.prior.unwrap_or(0.0);
                if normalised { weight / label.tokens as f32 } else { weight }
            };
            let odds = (labels[0].probability / labels[1].probability).ln();
            assert!((odds - (weight(&labels[0]) - weight(&labels[1]))).abs() < 1e-3);
        }
    }

    #[test]
    fn what_cannot_be_weighed_is_refused() {
        let (model, counts) = counted();
        let scene = model.encode(&[]);
        let refuse = |labels: &[&str], template: &str| {
            let how = Classify { template: template.to_owned(), ..Classify::default() };
            model.classify(&scene, labels, &how).unwrap_err().to_string()
        };
        assert_eq!(refuse(&[], "caption en"), "no label was given: name at least one");
        let blank = refuse(&["cat", " "], "caption en");
        assert_eq!(blank, "label 2 of 2 is blank: write something, or leave it out");
        assert!(refuse(&["cat"], "a photo of a {}").contains("has {}"));
        assert_eq!(counts.take(), [0, 0]);
    }
}
