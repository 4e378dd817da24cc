//! Cuts text into tokens: the rule that matches most text wins, of several the first.

use std::sync::{LazyLock, Mutex, PoisonError};

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::{Anchored, Input, MatchKind};

use super::rules::{Cut, rules};

/// The rules as one automaton.
pub(super) static LEXER: LazyLock<Lexer> = LazyLock::new(Lexer::new);

/// Memory for the automaton's states, which are made as text needs them.
const CACHE_BYTES: usize = 32 << 20;

pub(super) struct Lexer {
    automaton: DFA,
    cuts: Vec<Cut>,
    cache: Mutex<Cache>,
}

impl Lexer {
    fn new() -> Self {
        let (patterns, cuts): (Vec<String>, Vec<Cut>) = rules().into_iter().unzip();
        let automaton = DFA::builder()
            .configure(DFA::config().match_kind(MatchKind::All).cache_capacity(CACHE_BYTES))
            .thompson(thompson::Config::new().shrink(false))
            .build_many(&patterns)
            .expect("the rules are fixed, and every test reads text by them");
        let cache = Mutex::new(automaton.create_cache());
        Self { automaton, cuts, cache }
    }

    /// Gives every token of a line; what no rule matches is passed over.
    pub(super) fn tokens(&self, text: &str, mut give: impl FnMut(&str)) {
        // Rules look at what follows a token: at the end of a line that is its break.
        let line =
            text.replace(['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'], " ");
        let line = line + "\n";
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let mut from = 0;
        while let Some(first) = line[from..].chars().next() {
            let input = Input::new(&line).range(from..).anchored(Anchored::Yes);
            // The automaton has no words boundaries, the only reason for which it may give up.
            let found = self.automaton.try_search_fwd(&mut cache, &input).ok().flatten();
            let token = found.map_or("", |found| {
                self.cuts[found.pattern().as_usize()].of(&line[from..found.offset()])
            });
            if token.is_empty() {
                from += first.len_utf8();
            } else {
                give(token);
                from += token.len();
            }
        }
    }
}
