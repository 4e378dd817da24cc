//! Pictures read ahead of the model, on other threads.

use std::sync::mpsc::SyncSender;
use std::thread;

use paligemma::Error;
use paligemma_processor::{open_picture, resize};

use crate::{Question, Row};

/// Threads that read pictures at a time. Each may hold a whole picture, which is half a gigabyte at
/// most.
const READERS: usize = 4;

/// A batch of rows, each with its question, or why there is none.
pub(crate) type Batch = Vec<Result<Question, Error>>;

/// Sends batch after batch, until nobody takes them.
pub(crate) fn ahead(rows: &[&Row], size: usize, side: usize, batches: &SyncSender<Batch>) {
    for batch in rows.chunks(size) {
        if batches.send(read(batch, side)).is_err() {
            return;
        }
    }
}

fn read(rows: &[&Row], side: usize) -> Batch {
    let question = |row: &&Row| question(row, side);
    let part = rows.len().div_ceil(READERS).max(1);
    thread::scope(|scope| {
        let readers: Vec<_> = rows
            .chunks(part)
            .map(|rows| scope.spawn(move || rows.iter().map(question).collect::<Batch>()))
            .collect();
        let joined = readers.into_iter().flat_map(|reader| {
            reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        joined.collect()
    })
}

/// Pictures are squashed at once: of those that wait only the model's few pixels are held.
fn question(row: &Row, side: usize) -> Result<Question, Error> {
    let mut question = Question { prompt: row.prompt.clone(), ..Question::default() };
    for image in &row.images {
        let picture = open_picture(&image.path)?;
        question.sizes.push(picture.dimensions());
        question.pictures.push(resize(&picture, side));
    }
    Ok(question)
}
