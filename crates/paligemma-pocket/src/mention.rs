//! The things that a prompt speaks of.

use crate::thing::{Colour, Shape, Thing};

/// What a prompt says of one kind of thing: `red star`, `star`, `red shapes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The colour, if it is named.
    pub colour: Option<Colour>,
    /// The shape, if it is named.
    pub shape: Option<Shape>,
}

/// How many words a mention may have: every colour's and every shape's name.
pub const WORDS: usize = Colour::ALL.len() + Shape::ALL.len();

impl Mention {
    /// Which of all words it has.
    pub fn words(&self) -> [bool; WORDS] {
        std::array::from_fn(|word| match word.checked_sub(Colour::ALL.len()) {
            None => self.colour == Some(Colour::ALL[word]),
            Some(word) => self.shape == Some(Shape::ALL[word]),
        })
    }

    /// Whether it speaks of this thing.
    pub fn means(&self, thing: &Thing) -> bool {
        self.colour.is_none_or(|colour| colour == thing.colour)
            && self.shape.is_none_or(|shape| shape == thing.shape)
    }
}

/// The mentions of a prompt, in their order: a colour and the shape after it are one.
pub fn mentions(prompt: &str) -> Vec<Mention> {
    let mut all: Vec<Mention> = Vec::new();
    let mut after_colour = false;
    for word in prompt.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()) {
        let colour = Colour::ALL.into_iter().find(|colour| colour.name() == word);
        let shape = Shape::ALL.into_iter().find(|s| s.name() == word || s.plural() == word);
        match all.last_mut() {
            Some(last) if after_colour && shape.is_some() => last.shape = shape,
            _ if colour.is_some() || shape.is_some() => all.push(Mention { colour, shape }),
            _ => {}
        }
        after_colour = colour.is_some();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_and_the_shape_after_it_are_one_mention() {
        let mention = |colour, shape| Mention { colour, shape };
        let (red, star) = (Some(Colour::Red), Some(Shape::Star));
        for (prompt, expected) in [
            ("caption en", vec![]),
            ("answer en how many shapes are there?", vec![]),
            ("answer en how many stars are there?", vec![mention(None, star)]),
            ("answer en what shape is the red thing?", vec![mention(red, None)]),
            (
                "answer en is the star left of the red circle?",
                vec![mention(None, star), mention(red, Some(Shape::Circle))],
            ),
            (
                "detect red star ; red cross",
                vec![mention(red, star), mention(red, Some(Shape::Cross))],
            ),
        ] {
            assert_eq!(mentions(prompt), expected, "{prompt}");
        }
    }

    #[test]
    fn a_mention_has_the_words_that_it_names() {
        let count = |prompt| mentions(prompt)[0].words().iter().filter(|has| **has).count();
        assert_eq!((count("red star"), count("stars"), count("white shapes")), (2, 1, 1));
        assert!(mentions("crosses")[0].words()[WORDS - 1]);
    }

    #[test]
    fn a_mention_means_what_shares_all_that_it_names() {
        let size = crate::Size::Small;
        let thing = |colour, shape| Thing { colour, shape, size, box_: [0.0; 4], paint: [0; 3] };
        let star = thing(Colour::Red, Shape::Star);
        let meant = |prompt| mentions(prompt)[0].means(&star);
        assert!(meant("red star") && meant("stars") && meant("red shapes"));
        assert!(!meant("blue star") && !meant("crosses"));
    }
}
