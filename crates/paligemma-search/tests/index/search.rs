//! What is found, and in which order.

use paligemma::image::imageops;
use paligemma_search::TextSearch;

use crate::support::{Album, MODEL, caption, number, scene};

#[test]
fn a_picture_finds_itself_first() {
    let album = Album::new(0..40);
    album.update();
    let index = album.index();
    assert_eq!((index.len(), index.is_empty()), (40, false));
    for one in 0..40 {
        let found = index.search_image(&scene(one).render(), 5).unwrap();
        assert_eq!((found.len(), number(&found[0].path)), (5, one));
        assert!((found[0].score - 1.0).abs() < 1e-4, "{}", found[0].score);
        assert!(found.is_sorted_by(|a, b| a.score >= b.score));
        assert!(found[0].path.is_file() && found[0].size == (112, 112));
    }
    // A copy that is a little brighter is nearer to its original than to anything else.
    let near = (0..40).filter(|&one| {
        let copy = imageops::brighten(&scene(one).render(), 6);
        number(&index.search_image(&copy, 1).unwrap()[0].path) == one
    });
    assert!(near.count() >= 39);
    // More than there are is all of them.
    assert_eq!(index.search_image(&scene(0).render(), 1000).unwrap().len(), 40);
}

#[test]
fn embeddings_of_the_index_are_those_of_the_pictures() {
    let album = Album::new(0..20);
    album.update();
    let index = album.index();
    let pictures: Vec<_> = (0..20).map(|one| scene(one).render()).collect();
    let vectors = MODEL.embed(&pictures).unwrap();
    let cosine = |a: usize, b: usize| -> f32 {
        vectors[a].iter().zip(&vectors[b]).map(|(a, b)| a * b).sum()
    };
    for found in index.search_image(&pictures[7], 20).unwrap() {
        let expected = cosine(7, number(&found.path) as usize);
        assert!((found.score - expected).abs() < 1e-5, "{found:?} {expected}");
    }
}

#[test]
fn a_text_finds_a_picture_that_it_is_true_of() {
    let album = Album::new(0..40);
    album.update();
    let index = album.index();
    let mut right = 0;
    for one in 0..40 {
        let text = caption(one);
        let found = index.search_text(&text, &TextSearch { top: 3, shortlist: 40 }).unwrap();
        assert!(found.len() == 3 && found.is_sorted_by(|a, b| a.score >= b.score));
        right += usize::from(caption(number(&found[0].path)) == text);
    }
    // The model's own captions of such scenes are right 98.6 times of 100 (docs/pocket.md).
    assert!(right >= 38, "{right} of 40");
}

#[test]
fn stored_features_score_as_the_picture_does() {
    let album = Album::new(0..3);
    album.update();
    let text = caption(1);
    for found in album.index().search_text(&text, &TextSearch::default()).unwrap() {
        let seen = MODEL.encode(&[scene(number(&found.path)).render()]);
        let expected = MODEL.match_text(&seen, &text).unwrap().score();
        // Features are kept in f16, of 11 bits.
        assert!((found.score - expected).abs() < 5e-3, "{} {expected}", found.score);
    }
}

#[test]
fn a_large_index_asks_its_captions_first() {
    let album = Album::new(0..40);
    album.update();
    let index = album.index();
    let text = "a large star";
    let found = index.search_text(text, &TextSearch { top: 40, shortlist: 6 }).unwrap();
    assert!((1..=6).contains(&found.len()), "{}", found.len());
    let words = |found: &paligemma_search::Found| {
        ["large", "star"].iter().any(|word| found.caption.split(' ').any(|w| w == *word))
    };
    assert!(found.iter().all(words), "{found:?}");
    // "stars" and "star" are one word to the captions, and no caption says "elephant".
    let other = index.search_text("large stars", &TextSearch { top: 40, shortlist: 6 }).unwrap();
    let paths = |found: &[paligemma_search::Found]| {
        let mut paths: Vec<_> = found.iter().map(|found| found.path.clone()).collect();
        paths.sort();
        paths
    };
    assert_eq!(paths(&other), paths(&found));
    let none = index.search_text("elephant", &TextSearch { top: 40, shortlist: 6 }).unwrap();
    assert_eq!(none, []);
}
