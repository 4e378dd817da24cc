//! The rule of answers to `detect` and `segment`: boxes that span an area, and labels that were
//! asked for.

use paligemma_processor::{CODES, LOCATIONS, SEGMENTS, Tokenizer};

use crate::{Constraint, Error};

/// Location tokens of an item: y0, x0, y1, x1.
const EDGES: usize = 4;

/// Where every label begins.
const ROOT: usize = 0;

/// More tokens than there are, without overflow when others are added.
const NEVER: usize = usize::MAX / 2;

/// A [`Constraint`] to answers that are lists of items: four locations, for masks sixteen codes, and a
/// label, with ` ; ` between them.
///
/// Labels are those asked for, in the tokens that the tokenizer writes a whole answer in. Boxes span
/// an area: y0 < y1 and x0 < x1. The answer may be empty, which is how a model says that the thing
/// is not there. No item is begun that does not fit, so an answer is whole at any limit of tokens.
#[derive(Debug)]
pub struct Items {
    eos: u32,
    locations: Vec<u32>,
    /// Tokens that a mask is made of; none in an answer to `detect`.
    codes: Vec<u32>,
    /// Tokens of an item before its label.
    head: usize,
    /// What may follow the head, as a tree of tokens from [`ROOT`].
    tails: Vec<Node>,
}

/// What follows the tokens from the root to here.
#[derive(Debug, Default)]
struct Node {
    next: Vec<(u32, usize)>,
    /// The answer may end here.
    ends: bool,
    /// The separator is complete: another item begins.
    separates: bool,
    /// Tokens from here to the nearest end.
    to_end: usize,
}

/// Where an answer stands.
enum Place<'a> {
    /// Before a label, after these tokens of the item.
    Head(&'a [u32]),
    /// In a label or separator.
    Tail(usize),
}

impl Items {
    /// Answers to `detect` with these labels.
    ///
    /// # Errors
    /// If there is no label, or one cannot be read back from an answer.
    pub fn boxes(tokenizer: &Tokenizer, labels: &[impl AsRef<str>]) -> Result<Self, Error> {
        Self::new(tokenizer, labels, Vec::new(), 0)
    }

    /// Answers to `segment` with these labels.
    ///
    /// # Errors
    /// As [`Items::boxes`].
    pub fn masks(tokenizer: &Tokenizer, labels: &[impl AsRef<str>]) -> Result<Self, Error> {
        let codes = (0..SEGMENTS).map(|index| tokenizer.seg(index));
        Self::new(tokenizer, labels, codes.collect(), CODES)
    }

    fn new(
        tokenizer: &Tokenizer,
        labels: &[impl AsRef<str>],
        codes: Vec<u32>,
        codes_of_an_item: usize,
    ) -> Result<Self, Error> {
        let locations = (0..LOCATIONS).map(|index| tokenizer.loc(index));
        let mut items = Self {
            eos: tokenizer.special().eos,
            locations: locations.collect(),
            codes,
            head: EDGES + codes_of_an_item,
            tails: vec![Node::default()],
        };
        for label in labels.iter().map(|label| label.as_ref().trim()) {
            if !label.is_empty() {
                items.add(tokenizer, label)?;
            }
        }
        if items.tails.len() == 1 {
            return Err(Error::Nothing { what: "label" });
        }
        // The way from the root to the nearest end is within one item; others may go through another.
        items.measure(NEVER);
        items.measure(items.shortest());
        Ok(items)
    }

    /// Adds a label as it stands at the end of an answer, and before another item.
    fn add(&mut self, tokenizer: &Tokenizer, label: &str) -> Result<(), Error> {
        let head = "<loc0000><loc0000><loc1023><loc1023>".to_owned()
            + &"<seg000>".repeat(self.head - EDGES);
        let item = format!("{head} {label}");
        let last = tokenizer.encode_suffix(&item)?;
        let more = tokenizer.encode_suffix(&format!("{item} ; {head}"))?;
        let reads_back = tokenizer.decode(&last) == item;
        if !reads_back || [";", "<loc", "<seg"].iter().any(|mark| label.contains(mark)) {
            return Err(Error::Label { label: label.to_owned() });
        }
        let end = self.node(&last[self.head..]);
        self.tails[end].ends = true;
        let separated = self.node(&more[self.head..more.len() - self.head]);
        self.tails[separated].separates = true;
        Ok(())
    }

    /// The node after `tokens`, made where it is not there.
    fn node(&mut self, tokens: &[u32]) -> usize {
        tokens.iter().fold(ROOT, |at, &token| {
            self.tails[at].after(token).unwrap_or_else(|| {
                let new = self.tails.len();
                self.tails[at].next.push((token, new));
                self.tails.push(Node::default());
                new
            })
        })
    }

    /// Counts the tokens to the nearest end from every node, where `item` is what another item
    /// takes.
    fn measure(&mut self, item: usize) {
        // What follows a node stands behind it in the list.
        for at in (0..self.tails.len()).rev() {
            let node = &self.tails[at];
            let next = node.next.iter().map(|&(_, next)| 1 + self.tails[next].to_end);
            let separator = node.separates.then_some(item);
            let end = node.ends.then_some(0);
            self.tails[at].to_end = next.chain(separator).chain(end).min().unwrap_or(NEVER);
        }
    }

    /// Tokens of the shortest item.
    fn shortest(&self) -> usize {
        self.head + self.tails[ROOT].to_end
    }

    /// Where an answer stands after `tokens`.
    fn place<'a>(&self, tokens: &'a [u32]) -> Place<'a> {
        let mut start = 0;
        let mut tail = None;
        for (at, &token) in tokens.iter().enumerate() {
            tail = match tail {
                None => (at + 1 - start == self.head).then_some(ROOT),
                Some(node) => {
                    let next = self.tails[node].after(token);
                    // Not of the label or its separator: the first location of the next item.
                    start = if next.is_none() { at } else { start };
                    next
                }
            };
        }
        tail.map_or(Place::Head(&tokens[start..]), Place::Tail)
    }

    /// Tokens that may follow `tokens` where `left` more fit.
    fn allowed(&self, tokens: &[u32], left: usize) -> Vec<u32> {
        let shortest = self.shortest();
        let mut allowed = Vec::new();
        match self.place(tokens) {
            Place::Head(item) => {
                if tokens.is_empty() {
                    allowed.push(self.eos);
                }
                if shortest <= left + item.len() {
                    allowed.extend(self.of_head(item));
                }
            }
            Place::Tail(at) => {
                let node = &self.tails[at];
                let fits = |next: usize| self.tails[next].to_end < left;
                allowed.extend(node.next.iter().filter(|(_, next)| fits(*next)).map(|n| n.0));
                if node.ends {
                    allowed.push(self.eos);
                }
                if node.separates && shortest <= left {
                    allowed.extend(self.of_head(&[]));
                }
            }
        }
        allowed
    }

    /// Tokens that may follow the first tokens of an item, before its label.
    fn of_head(&self, item: &[u32]) -> &[u32] {
        let above = |edge: u32| {
            let index = self.locations.iter().position(|&token| token == edge);
            &self.locations[index.map_or(LOCATIONS, |index| index + 1)..]
        };
        match *item {
            [] | [_] => &self.locations[..LOCATIONS - 1],
            [y0, _] => above(y0),
            [_, x0, _] => above(x0),
            _ => &self.codes,
        }
    }
}

impl Node {
    fn after(&self, token: u32) -> Option<usize> {
        self.next.iter().find(|(of, _)| *of == token).map(|(_, next)| *next)
    }
}

impl Constraint for Items {
    fn mask(&self, tokens: &[u32], left: usize, logits: &mut [f32]) {
        let mut masked = vec![f32::NEG_INFINITY; logits.len()];
        for token in self.allowed(tokens, left) {
            masked[token as usize] = logits[token as usize];
        }
        logits.copy_from_slice(&masked);
    }
}

#[cfg(test)]
mod tests;
