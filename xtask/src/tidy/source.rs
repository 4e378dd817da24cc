//! Rules of Rust files: documented, short, finished, silent where they are libraries.

use super::Broken;

/// The longest file that a reader still knows their way in.
const LONGEST: usize = 500;

/// What is left behind in a hurry. In halves, since this file is checked too.
const LEFTOVERS: [&str; 3] =
    [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];

/// An ignored test that does not say why.
const IGNORED: &str = concat!("#[ign", "ore]");

/// What writes to the terminal, with and without a line's end.
const PRINTS: [&str; 2] = [concat!("print", "!("), concat!("println", "!(")];

/// Where a terminal may be written to: programs, and scripts that cargo reads.
const PROGRAMS: [&str; 3] = [
    "crates/paligemma-cli/",
    "crates/paligemma-pocket/src/main",
    "crates/paligemma-pocket/src/train",
];

/// The places of a Rust file that break a rule.
pub(super) fn check(name: &str, content: &str) -> Vec<Broken> {
    let lines: Vec<&str> = content.lines().collect();
    let mut found = Vec::new();
    if !lines.first().is_some_and(|line| line.starts_with("//!")) {
        found.push(Broken::new(1, "no module documentation (`//!`) on the first line"));
    }
    if lines.len() > LONGEST {
        found.push(Broken::new(0, format!("has {} lines, over {LONGEST}", lines.len())));
    }
    let library = is_library(name);
    for (index, line) in lines.iter().enumerate() {
        let mut broken = |rule: String| found.push(Broken::new(index + 1, rule));
        if let Some(leftover) = LEFTOVERS.iter().find(|leftover| line.contains(*leftover)) {
            broken(format!("`{leftover}` is left over"));
        }
        if line.trim_start().starts_with(IGNORED) {
            broken("an ignored test gives its reason, as in `ignore = \"why\"`".to_owned());
        }
        let comment = line.trim_start().starts_with("//");
        if library && !comment && PRINTS.iter().any(|print| line.contains(print)) {
            broken("a library does not print; give the value back".to_owned());
        }
        if is_forward(line) && !documentation(&lines[..index]).any(|doc| doc.contains("# Shapes")) {
            broken("`forward` has no `# Shapes` in its documentation".to_owned());
        }
    }
    found
}

/// Whether the file is linked into other people's programs.
fn is_library(name: &str) -> bool {
    name.starts_with("crates/")
        && !PROGRAMS.iter().any(|program| name.starts_with(program))
        && !name.ends_with("/build.rs")
        && !["/examples/", "/tests/", "/benches/"].iter().any(|folder| name.contains(folder))
}

/// Whether the line declares a public function named `forward`.
fn is_forward(line: &str) -> bool {
    let rest = line.trim_start().strip_prefix("pub fn forward");
    rest.is_some_and(|rest| rest.starts_with(['(', '<']))
}

/// The documentation, last line first, of what follows these lines; attributes may stand between.
fn documentation<'a>(above: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    let lines = above.iter().rev().map(|line| line.trim_start());
    lines
        .take_while(|line| line.starts_with("///") || line.starts_with("#["))
        .filter(|line| line.starts_with("///"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];
    const LIBRARY: &str = "crates/paligemma-nn/src/norm.rs";

    fn lines(name: &str, body: &str) -> Vec<usize> {
        let content = format!("//! One thing.\n{body}");
        check(name, &content).into_iter().map(|broken| broken.line).collect()
    }

    #[test]
    fn a_file_opens_with_its_documentation() {
        assert_eq!(check(LIBRARY, "//! One thing.\n#![allow(dead_code)]\n"), []);
        for content in ["", "\n", "use std::fs;\n", "#![allow(dead_code)]\n//! Late.\n", "// No.\n"]
        {
            assert_eq!(check(LIBRARY, content).len(), 1, "{content:?}");
        }
    }

    #[test]
    fn five_hundred_lines_are_the_most() {
        assert_eq!(lines(LIBRARY, &"\n".repeat(LONGEST - 1)), NONE);
        assert_eq!(lines(LIBRARY, &"\n".repeat(LONGEST)), [0]);
    }

    #[test]
    fn leftovers_are_found_anywhere() {
        for leftover in LEFTOVERS {
            assert_eq!(lines("xtask/src/main.rs", &format!("    {leftover});\n")), [2]);
        }
    }

    #[test]
    fn an_ignored_test_needs_a_reason() {
        assert_eq!(lines(LIBRARY, &format!("    {IGNORED}\n")), [2]);
        let reasoned = IGNORED.replace(']', " = \"needs a GPU\"]");
        assert_eq!(lines(LIBRARY, &format!("    {reasoned}\n")), NONE);
    }

    #[test]
    fn libraries_do_not_print_and_programs_do() {
        for print in PRINTS {
            for call in [format!("{print}\"x\");\n"), format!("e{print}\"x\");\n")] {
                assert_eq!(lines(LIBRARY, &call), [2], "{call}");
                assert_eq!(lines(LIBRARY, &format!("/// {call}")), NONE, "a documentation example");
                assert_eq!(lines("crates/paligemma-cli/src/main.rs", &call), NONE);
                assert_eq!(lines("crates/paligemma-pocket/src/train/log.rs", &call), NONE);
                assert_eq!(lines("crates/paligemma-pocket/src/scenes.rs", &call), [2]);
                assert_eq!(lines("crates/paligemma-nn/build.rs", &call), NONE);
                assert_eq!(lines("tests/conformance/main.rs", &call), NONE);
            }
        }
    }

    #[test]
    fn a_public_forward_documents_its_shapes() {
        let good = "/// Sum.\n///\n/// # Shapes\n/// - `x`: [B, D]\n#[must_use]\npub fn forward(&self) {}\n";
        assert_eq!(lines(LIBRARY, good), NONE);
        assert_eq!(lines(LIBRARY, &good.replace("# Shapes", "")), [7]);
        assert_eq!(lines(LIBRARY, "pub fn forward<B>() {}\n"), [2]);
        let other = format!("{good}pub fn forward_all() {{}}\nfn forward() {{}}\n");
        assert_eq!(lines(LIBRARY, &other), NONE);
        let second = format!("{good}\npub fn forward() {{}}\n");
        assert_eq!(lines(LIBRARY, &second), [9], "another function's documentation does not count");
    }
}
