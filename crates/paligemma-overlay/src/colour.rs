//! Colours: one for each label, and one for the letters on it.

/// Colours that are told apart on any ground, by people who confuse red and green too
/// (after Okabe and Ito 2008).
pub(crate) const COLOURS: [[u8; 3]; 7] = [
    [230, 159, 0],
    [86, 180, 233],
    [0, 158, 115],
    [240, 228, 66],
    [0, 114, 178],
    [213, 94, 0],
    [204, 121, 167],
];

/// A colour for each thing: things of one label have one, the first labels differ.
pub(crate) fn colours<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<[u8; 3]> {
    let mut seen: Vec<&str> = Vec::new();
    labels
        .map(|label| {
            let known = seen.iter().position(|seen| *seen == label);
            let index = known.unwrap_or_else(|| {
                seen.push(label);
                seen.len() - 1
            });
            COLOURS[index % COLOURS.len()]
        })
        .collect()
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
    }

    #[test]
    fn letters_are_seen_on_every_colour() {
        for colour in COLOURS {
            let contrast = ink(colour).iter().zip(colour).map(|(a, b)| a.abs_diff(b)).max();
            assert!(contrast > Some(100));
        }
    }
}
