//! Text as the references' Python sees it: its whitespace and its numbers.

/// Whether Python's `str.split()` and `str.strip()` take the character for whitespace: Unicode's
/// whitespace, and the four separators of ASCII.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `text.strip()`.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `text.split()`.
pub(crate) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// `float(text)` where that is a number; digits of other scripts are not read.
pub(crate) fn float(text: &str) -> Option<f64> {
    let text = strip(text);
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let mut plain = String::with_capacity(text.len());
    let mut before = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '_' {
            plain.push(c);
        } else if !digit(before) || !digit(rest.clone().next()) {
            // An underscore stands between two digits.
            return None;
        }
        before = Some(c);
    }
    plain.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_python_reads_them() {
        for (text, number) in [
            (" 1_000.5 ", Some(1000.5)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("+1e3", Some(1000.0)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("1,000", None),
            ("", None),
            ("0x10", None),
        ] {
            assert_eq!(float(text), number, "{text}");
        }
        assert!(float("NaN").unwrap().is_nan());
    }
}
