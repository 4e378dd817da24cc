//! What answers the rows: a model, several rows at a time.

use paligemma::image::RgbImage;
use paligemma::{Answer, DetectedBox, DetectionOptions, Error, Options, PaliGemma, Request, Scene};

/// A prompt about pictures that have been read.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The pictures, squashed to the square that the model sees.
    pub pictures: Vec<RgbImage>,
    /// Width and height of each as it was read.
    pub sizes: Vec<(u32, u32)>,
    /// The prompt.
    pub prompt: String,
}

/// What answers questions.
pub trait Answers {
    /// Pixels along a side of the pictures that it sees.
    fn picture_side(&self) -> usize;

    /// The answer to each question, whatever becomes of the others.
    fn answers(&self, questions: &[Question], options: Options) -> Vec<Result<Answer, Error>>;

    /// The boxes that an answer about a picture of this size tells, in pixels; none in most answers.
    fn boxes(&self, answer: &Answer, size: (u32, u32)) -> Vec<DetectedBox>;
}

impl Answers for PaliGemma {
    fn picture_side(&self) -> usize {
        self.config().vision.image_size
    }

    fn answers(&self, questions: &[Question], options: Options) -> Vec<Result<Answer, Error>> {
        let pictures: Vec<RgbImage> =
            questions.iter().flat_map(|question| question.pictures.iter().cloned()).collect();
        let counts: Vec<usize> = questions.iter().map(|question| question.pictures.len()).collect();
        let scenes = self.encode(&pictures).split(&counts);
        let request = |(scene, question): (Scene, &Question)| Request {
            scene,
            prompt: question.prompt.clone(),
            options,
            constraint: None,
        };
        let requests: Vec<Request> = scenes.into_iter().zip(questions).map(request).collect();
        answer_or_halve(self, &requests)
    }

    fn boxes(&self, answer: &Answer, size: (u32, u32)) -> Vec<DetectedBox> {
        DetectionOptions::default().boxes(answer, self.tokenizer(), size)
    }
}

/// A batch with a request that cannot be answered is refused as a whole, before anything is
/// computed: halving it leaves that request alone with its error.
fn answer_or_halve(model: &PaliGemma, requests: &[Request]) -> Vec<Result<Answer, Error>> {
    match model.batch(requests) {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        Err(error) if requests.len() < 2 => vec![Err(error)],
        Err(_) => {
            let (left, right) = requests.split_at(requests.len() / 2);
            let mut answers = answer_or_halve(model, left);
            answers.extend(answer_or_halve(model, right));
            answers
        }
    }
}
