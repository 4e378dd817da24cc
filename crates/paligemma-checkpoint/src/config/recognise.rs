//! Configurations of checkpoints that come without: big_vision keeps them in its code.

use std::path::Path;

use super::PaliGemmaConfig;
use crate::checkpoint::Checkpoint;
use crate::layout::BIG_VISION_LAYOUT;
use crate::source::SourceError;

/// Sides of the pictures that published checkpoints are for.
const SIDES: [usize; 3] = [224, 448, 896];

/// The configuration of the checkpoint of big_vision in the folder of a `config.json` that is not
/// there; none if it is no such checkpoint, or of no published size.
///
/// # Errors
/// If there is an npz that cannot be read.
pub(super) fn beside(missing: &Path) -> Result<Option<PaliGemmaConfig>, SourceError> {
    let Some(folder) = missing.parent().filter(|_| !missing.exists()) else { return Ok(None) };
    match Checkpoint::open(folder) {
        Ok(checkpoint) => Ok(of(&checkpoint)),
        Err(
            error @ (SourceError::Ambiguous { .. }
            | SourceError::Archive { .. }
            | SourceError::Tensor { .. }),
        ) => Err(error),
        Err(_) => Ok(None),
    }
}

fn of(checkpoint: &Checkpoint) -> Option<PaliGemmaConfig> {
    if *checkpoint.layout() != BIG_VISION_LAYOUT {
        return None;
    }
    let shape = |path: &str| checkpoint.tensors.get(path).map(|tensor| tensor.shape.as_slice());
    let table = shape("language_model.embed_tokens.weight")?;
    let positions = shape("vision_tower.embeddings.position_embedding.weight")?;
    published(table.try_into().ok()?, *positions.first()?)
}

/// The published model with this table of embeddings and so many positions of patches. The table of
/// big_vision ends before the image token, and the configuration says so.
fn published([rows, width]: [usize; 2], positions: usize) -> Option<PaliGemmaConfig> {
    let of = |side| {
        [vec![PaliGemmaConfig::published_3b(side)], PaliGemmaConfig::published_2(side).into()]
    };
    let mut known = SIDES.into_iter().flat_map(of).flatten();
    let mut config = known.find(|config| {
        config.text.hidden_size == width && config.vision.num_patches() == positions
    })?;
    config.text.vocab_size = rows;
    Some(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_published_model_is_known_by_its_widths() {
        // Rows of big_vision's tables, and the sizes of the PaliGemma papers.
        let rows = 257_152;
        for (width, layers, query_scale) in [
            (2048, 18, None),
            (2304, 26, Some(256.0)),
            (3584, 42, Some(256.0)),
            (4608, 46, Some(144.0)),
        ] {
            for (positions, side) in [(256, 224), (1024, 448), (4096, 896)] {
                let config = published([rows, width], positions).unwrap();
                assert_eq!(
                    (config.text.num_hidden_layers, config.vision.image_size),
                    (layers, side)
                );
                assert_eq!(config.text.query_pre_attn_scalar, query_scale);
                assert_eq!((config.text.vocab_size, config.image_token_index), (rows, rows as u32));
                assert_eq!(PaliGemmaConfig::from_json(&config.to_json()).unwrap(), config);
            }
        }
        assert_eq!(published([rows, 2049], 256), None);
        assert_eq!(published([rows, 2048], 257), None);
    }
}
