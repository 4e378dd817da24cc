//! Several answers to one request, with their probabilities.

use crate::{Answer, BeamSearch, Error, PaliGemma, Request, Sampling};

impl PaliGemma {
    /// Up to `count` different answers to one request, the one with the highest [`Answer::mean`]
    /// first. The pictures and the prompt are read once.
    ///
    /// With [`Sampling::Random`] they are `count` draws, decoded together: the first has the seed of
    /// the request, each other the next seed, and the same answer drawn twice is one. Otherwise they
    /// are the best of `num_beams` beams.
    ///
    /// # Errors
    /// As [`PaliGemma::generate`]; and if there is no answer to be found, or there are fewer beams
    /// than answers.
    pub fn answers(&self, request: &Request, count: usize) -> Result<Vec<Answer>, Error> {
        if count == 0 {
            return Err(Error::Nothing { what: "number of answers" });
        }
        let mut answers = match request.options.sampling {
            Sampling::Random { .. } => self.draws(request, count)?,
            Sampling::Greedy => self.beams(request, count)?,
        };
        answers.sort_by(|a, b| b.mean().total_cmp(&a.mean()));
        Ok(answers)
    }

    fn draws(&self, request: &Request, count: usize) -> Result<Vec<Answer>, Error> {
        let (mut reply, mut starts) = self.prefill(std::slice::from_ref(request))?;
        reply.select(&vec![0; count]);
        starts.resize(count, starts[0].clone());
        for (start, seed) in starts.iter_mut().zip(0..) {
            start.options.seed = start.options.seed.wrapping_add(seed);
        }
        let mut generation = self.generation(reply, starts);
        while !generation.finished() {
            generation.step(|_, _| ())?;
        }
        let mut different: Vec<Answer> = Vec::new();
        for answer in generation.answers() {
            if different.iter().all(|other| other.token_ids != answer.token_ids) {
                different.push(answer);
            }
        }
        Ok(different)
    }

    fn beams(&self, request: &Request, count: usize) -> Result<Vec<Answer>, Error> {
        let beams = request.options.num_beams;
        if count > beams {
            return Err(Error::TooManyAnswers { answers: count, beams });
        }
        let (mut reply, starts) = self.prefill(std::slice::from_ref(request))?;
        let eos = self.tokenizer().special().eos;
        let (usage, room) = (starts[0].usage, starts[0].room);
        let mut search = BeamSearch::new(beams, room, eos, request.constraint.as_deref());
        for tokens in 0.. {
            let logits = reply.logits();
            Error::check_finite(&logits, tokens, self.dtype())?;
            let Some(step) = search.advance(&logits) else { break };
            reply.select(&step.rows);
            reply.advance(&step.tokens);
        }
        let found = search.finish().into_iter().take(count);
        Ok(found.map(|beam| Answer::of_beam(beam, usage, self.tokenizer())).collect())
    }
}
