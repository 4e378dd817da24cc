//! The two searches: by a picture that looks alike, and by a text.

use std::path::PathBuf;

use bm25::{Document, Language, SearchEngine, SearchEngineBuilder};
use linfa_nn::distance::L2Dist;
use linfa_nn::{LinearSearch, NearestNeighbour};
use ndarray::{Array1, Array2};
use paligemma::Scene;
use paligemma::image::RgbImage;

use crate::{Index, SearchError, walk};

/// Pictures whose features are held at a time.
const AT_ONCE: usize = 16;

/// A picture that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Where it was when it was indexed.
    pub path: PathBuf,
    /// Pixels across and down.
    pub size: (u32, u32),
    /// What the model said of it.
    pub caption: String,
    /// By a picture, the cosine between the embeddings, -1..=1; by a text,
    /// [`paligemma::Match::score`].
    pub score: f32,
}

/// How a text is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextSearch {
    /// The most pictures to give.
    pub top: usize,
    /// The most pictures to hold the text against. Where there are more, the captions that have
    /// most words in common with the text say which (BM25): then a picture whose caption has none
    /// of its words is not found.
    pub shortlist: usize,
}

impl Default for TextSearch {
    fn default() -> Self {
        Self { top: 10, shortlist: 100 }
    }
}

impl Index<'_> {
    /// The pictures that look most like this one, exactly: every embedding is compared.
    ///
    /// # Errors
    /// If a file of the index is damaged, or the model's numbers are not finite.
    pub fn search_image(&self, picture: &RgbImage, top: usize) -> Result<Vec<Found>, SearchError> {
        let asked = self.model.embed(std::slice::from_ref(picture))?.concat();
        let mut all = Vec::with_capacity(self.len() * asked.len());
        for &(shard, row) in &self.places {
            all.extend(self.shards[shard].embedding(row)?);
        }
        // Every embedding has the model's width, or its file would not have been opened.
        Ok(self.found(nearest(all, asked, top).unwrap_or_default(), top))
    }

    /// The pictures that make this English text likeliest, against how likely it is without any.
    ///
    /// # Errors
    /// If the text is empty or too long, a file of the index is damaged, or the model's numbers
    /// are not finite.
    pub fn search_text(&self, text: &str, how: &TextSearch) -> Result<Vec<Found>, SearchError> {
        let matcher = self.model.matcher(&[text])?;
        let mut scores = Vec::new();
        for pictures in self.shortlist(text, how.shortlist).chunks(AT_ONCE) {
            let scenes = pictures.iter().map(|&picture| self.scene(picture));
            let matches = matcher.matches_each(&scenes.collect::<Result<Vec<_>, _>>()?)?;
            let found = matches.iter().flatten().map(paligemma::Match::score);
            scores.extend(pictures.iter().copied().zip(found));
        }
        Ok(self.found(scores, how.top))
    }

    /// A picture as the model saw it.
    fn scene(&self, picture: usize) -> Result<Scene, SearchError> {
        let (shard, row) = self.places[picture];
        let features = self.shards[shard].features(row)?;
        Ok(self.model.scene(features, &[self.row(picture).size])?)
    }

    /// The pictures to hold a text against.
    fn shortlist(&self, text: &str, most: usize) -> Vec<usize> {
        if self.len() <= most {
            return (0..self.len()).collect();
        }
        let captions = (0..self.len()).map(|i| Document::new(i as u32, &*self.row(i).caption));
        let engine: SearchEngine<u32> =
            SearchEngineBuilder::with_documents(Language::English, captions).build();
        let mut found = engine.search(text, None);
        // Equal captions in the order of their names, whichever way the engine gives them.
        found.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.document.id.cmp(&b.document.id)));
        found.into_iter().take(most).map(|found| found.document.id as usize).collect()
    }

    /// The best of these pictures and scores; equals in the order of their names.
    fn found(&self, mut scores: Vec<(usize, f32)>, top: usize) -> Vec<Found> {
        scores.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let found = scores.into_iter().take(top).map(|(picture, score)| {
            let row = self.row(picture);
            let path = walk::path(&self.folder, &row.file.path);
            Found { path, size: row.size, caption: row.caption.clone(), score }
        });
        found.collect()
    }
}

/// The rows of a table nearest to `asked`, with their cosines; none if the widths differ. Among
/// vectors of length 1, the nearest have the largest cosines.
fn nearest(all: Vec<f32>, asked: Vec<f32>, top: usize) -> Option<Vec<(usize, f32)>> {
    let all = Array2::from_shape_vec((all.len() / asked.len().max(1), asked.len()), all).ok()?;
    let asked = Array1::from_vec(asked);
    let index = LinearSearch::new().from_batch(&all, L2Dist).ok()?;
    let nearest = index.k_nearest(asked.view(), top).ok()?;
    Some(nearest.into_iter().map(|(point, row)| (row, point.dot(&asked))).collect())
}
