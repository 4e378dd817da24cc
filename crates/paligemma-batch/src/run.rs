//! From rows to results: read, answered, written, batch by batch.

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::thread;

use paligemma::{Answer, Error, Options};

use crate::journal::Journal;
use crate::read::{self, Batch};
use crate::wire::{Answered, ResultRow};
use crate::{Answers, BatchError, Job, Output, Question, Row};

/// Batches that are read before they are asked for.
const AHEAD: usize = 1;

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Rows of the job.
    pub rows: usize,
    /// Rows with a result, those of runs before this one included, but for those that had no answer
    /// and are still to be tried again.
    pub done: usize,
    /// Those of them without an answer: their results say why.
    pub failed: usize,
}

/// Answers the rows that have no result yet, `batch_size` at a time, and writes each batch before the
/// next is begun. A row that cannot be answered becomes a result with an error, and the run goes on;
/// where results are gone on with, such rows are tried again first, and their lines are replaced an
/// eighth of them at a time: a process that is killed loses the new answers since the last time.
///
/// `progress` is told at the beginning and of every batch, and may break off; what is written then is
/// whole, and [`Output::resume`] goes on after it.
///
/// # Errors
/// If results cannot be written, another process is writing them, or those that are there are not
/// what this function wrote.
pub fn run(
    model: &impl Answers,
    job: &Job,
    output: &Output,
    batch_size: usize,
    mut progress: impl FnMut(Summary) -> ControlFlow<()>,
) -> Result<Summary, BatchError> {
    let mut journal = output.open(job)?;
    let places = journal.open_places(job.rows.len());
    let rows: Vec<&Row> = places.iter().map(|&place| &job.rows[place]).collect();
    let broken = progress(summary(job, &journal)).is_break();
    if !broken {
        let mut places = places.into_iter();
        let failed = batches(model, &rows, job.options, batch_size, |rows, answers| {
            let results = rows.iter().zip(answers);
            let results = results.map(|(row, answered)| ResultRow::new(row, answered));
            if let Err(error) = journal.put(places.by_ref().take(rows.len()).zip(results)) {
                return ControlFlow::Break(Some(error));
            }
            progress(summary(job, &journal)).map_break(|()| None)
        });
        if let Some(error) = failed.flatten() {
            return Err(error);
        }
        journal.settle()?;
    }
    if journal.done() == job.rows.len() {
        output.finish(&journal)?;
    }
    Ok(summary(job, &journal))
}

/// Answers rows, `batch_size` at a time and in their order, while the pictures of the next are read.
///
/// `take` is given every batch with its answers, or why there is none, and may break off with a value,
/// which is then returned.
pub fn answer_rows<T>(
    model: &impl Answers,
    rows: &[Row],
    options: Options,
    batch_size: usize,
    mut take: impl FnMut(&[&Row], Vec<Result<Answer, Error>>) -> ControlFlow<T>,
) -> Option<T> {
    let rows: Vec<&Row> = rows.iter().collect();
    batches(model, &rows, options, batch_size, |rows, answers| {
        let answers = answers.into_iter().map(|answered| Ok(answered?.answer));
        take(rows, answers.collect())
    })
}

/// [`answer_rows`] with what else is known of an answer.
fn batches<T>(
    model: &impl Answers,
    rows: &[&Row],
    options: Options,
    batch_size: usize,
    mut take: impl FnMut(&[&Row], Vec<Result<Answered, Error>>) -> ControlFlow<T>,
) -> Option<T> {
    let (size, side) = (batch_size.max(1), model.picture_side());
    thread::scope(|scope| {
        let (sender, batches) = mpsc::sync_channel(AHEAD);
        scope.spawn(move || read::ahead(rows, size, side, &sender));
        rows.chunks(size)
            .zip(batches)
            .try_for_each(|(rows, batch)| take(rows, answer(model, options, batch)))
            .break_value()
    })
}

fn summary(job: &Job, journal: &Journal) -> Summary {
    Summary { rows: job.rows.len(), done: journal.done(), failed: journal.failed }
}

/// The answers of a batch, in its order.
fn answer(model: &impl Answers, options: Options, batch: Batch) -> Vec<Result<Answered, Error>> {
    let mut questions: Vec<Question> = Vec::new();
    let failures: Vec<Option<Error>> = batch
        .into_iter()
        .map(|question| question.map(|question| questions.push(question)).err())
        .collect();
    let answers: Vec<Result<Answer, Error>> =
        if questions.is_empty() { Vec::new() } else { model.answers(&questions, options) };
    let answers = questions.iter().zip(answers);
    let mut answers = answers.map(|(question, answer)| Ok(answered(model, question, answer?)));
    let all = failures
        .into_iter()
        .filter_map(|failure| failure.map_or_else(|| answers.next(), |error| Some(Err(error))));
    all.collect()
}

/// Boxes are in pixels, so there are none where it is in doubt of which picture.
fn answered(model: &impl Answers, question: &Question, answer: Answer) -> Answered {
    let size = match question.sizes[..] {
        [size] => Some(size),
        _ => None,
    };
    let boxes = size.map_or_else(Vec::new, |size| model.boxes(&answer, size));
    Answered { answer, size, boxes }
}
