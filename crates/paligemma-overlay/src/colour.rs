//! Colours: one for each label, as many as there are, and one for the letters on it.

/// Colours that are told apart on any ground, by people who confuse red and green too
/// (after Okabe and Ito 2008): the first seven.
pub(crate) const COLOURS: [[u8; 3]; 7] = [
    [230, 159, 0],
    [86, 180, 233],
    [0, 158, 115],
    [240, 228, 66],
    [0, 114, 178],
    [213, 94, 0],
    [204, 121, 167],
];

/// Levels of red, green and blue that further colours are made of.
const LEVELS: [u8; 7] = [0, 43, 85, 128, 170, 213, 255];

/// A colour for each thing: things of one label have one, labels differ. After some three hundred
/// labels there are no more, and they begin again.
pub(crate) fn colours<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<[u8; 3]> {
    let mut seen: Vec<&str> = Vec::new();
    let places: Vec<usize> = labels
        .map(|label| {
            let known = seen.iter().position(|seen| *seen == label);
            known.unwrap_or_else(|| {
                seen.push(label);
                seen.len() - 1
            })
        })
        .collect();
    let palette = palette(seen.len());
    places.into_iter().map(|place| palette[place % palette.len()]).collect()
}

/// The seven colours, and after them up to `count`, each the one of all mixtures that is farthest
/// from those before it.
fn palette(count: usize) -> Vec<[u8; 3]> {
    let mut palette = COLOURS.to_vec();
    let levels = |index: usize| [index / 49, index / 7 % 7, index % 7].map(|level| LEVELS[level]);
    let mixtures = (0..LEVELS.len().pow(3)).map(levels);
    // Of each the distance to the nearest colour that is taken.
    let mut left: Vec<([u8; 3], f32)> = mixtures
        .map(|mixture| {
            let nearest = COLOURS.iter().map(|&colour| distance(mixture, colour));
            (mixture, nearest.fold(f32::INFINITY, f32::min))
        })
        .collect();
    while palette.len() < count && !left.is_empty() {
        let farthest = (0..left.len()).max_by(|&a, &b| left[a].1.total_cmp(&left[b].1));
        let (chosen, _) = left.swap_remove(farthest.unwrap_or_default());
        for (mixture, nearest) in &mut left {
            *nearest = nearest.min(distance(*mixture, chosen));
        }
        palette.push(chosen);
    }
    palette
}

/// How different two colours look: the distance in Oklab (Björn Ottosson 2020,
/// <https://bottosson.github.io/posts/oklab>), in which white and black are 1 apart.
fn distance(one: [u8; 3], other: [u8; 3]) -> f32 {
    let (one, other) = (oklab(one), oklab(other));
    one.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
}

fn oklab(colour: [u8; 3]) -> [f32; 3] {
    let product = |rows: [[f32; 3]; 3], of: [f32; 3]| {
        rows.map(|row| row.iter().zip(of).map(|(weight, value)| weight * value).sum::<f32>())
    };
    // The transfer function of sRGB (IEC 61966-2-1).
    let linear = colour.map(|level| match f32::from(level) / 255.0 {
        low if low <= 0.04045 => low / 12.92,
        high => ((high + 0.055) / 1.055).powf(2.4),
    });
    let cones = product(
        [
            [0.412_221_46, 0.536_332_55, 0.051_445_995],
            [0.211_903_5, 0.680_699_5, 0.107_396_96],
            [0.088_302_46, 0.281_718_85, 0.629_978_7],
        ],
        linear,
    );
    product(
        [
            [0.210_454_26, 0.793_617_8, -0.004_072_047],
            [1.977_998_5, -2.428_592_2, 0.450_593_7],
            [0.025_904_037, 0.782_771_77, -0.808_675_77],
        ],
        cones.map(f32::cbrt),
    )
}

/// Black or white, whichever is read better on the colour (weights: ITU-R BT.601).
pub(crate) fn ink([r, g, b]: [u8; 3]) -> [u8; 3] {
    let light = 299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b);
    if light > 128_000 { [0; 3] } else { [255; 3] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_keeps_its_colour() {
        let found = colours(["cat", "dog", "cat"].into_iter());
        assert_eq!(found, [COLOURS[0], COLOURS[1], COLOURS[0]]);
        assert_eq!(colours(std::iter::empty()), [[0; 3]; 0]);
    }

    #[test]
    fn many_labels_have_colours_of_their_own() {
        let labels: Vec<String> = (0..40).map(|label| label.to_string()).collect();
        let found = colours(labels.iter().map(String::as_str));
        assert_eq!(found[..7], COLOURS);
        for (place, one) in found.iter().enumerate() {
            for other in &found[..place] {
                // Five times what is seen as a difference at all, 0.02.
                assert!(distance(*one, *other) > 0.1, "{one:?} {other:?}");
            }
        }
        // More labels than colours: they begin again.
        let labels: Vec<String> = (0..1000).map(|label| label.to_string()).collect();
        let found = colours(labels.iter().map(String::as_str));
        assert_eq!((found.len(), found[350]), (1000, found[0]));
    }

    #[test]
    fn oklab_is_that_of_its_author() {
        // Black, white and red, as CSS Color 4 has them.
        for (colour, expected) in [
            ([0, 0, 0], [0.0, 0.0, 0.0]),
            ([255, 255, 255], [1.0, 0.0, 0.0]),
            ([255, 0, 0], [0.627_96, 0.224_86, 0.125_85]),
        ] {
            let close = oklab(colour).iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4);
            assert!(close, "{colour:?}: {:?}", oklab(colour));
        }
    }

    #[test]
    fn letters_are_seen_on_every_colour() {
        for colour in palette(100) {
            let contrast = ink(colour).iter().zip(colour).map(|(a, b)| a.abs_diff(b)).max();
            assert!(contrast > Some(100));
        }
    }
}
