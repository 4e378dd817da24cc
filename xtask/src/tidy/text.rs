//! Rules of every text file: no trailing whitespace, no path of one machine.

use super::{Broken, has_ending};

/// Folders that exist on one machine and not on another. In halves, since this file is checked too.
const MACHINE: [&str; 3] = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/t", "mp/")];

/// Whether the rules of text hold for the file: source, manifests, pages and scripts are written
/// here, data is not.
pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with(".ci/") || ["rs", "md", "toml", "py"].iter().any(|end| has_ending(name, end))
}

/// The lines that break a rule of text.
pub(super) fn check(content: &str) -> Vec<Broken> {
    let mut found = Vec::new();
    for (index, line) in content.split('\n').enumerate() {
        if line.ends_with(char::is_whitespace) {
            found.push(Broken::new(index + 1, "trailing whitespace"));
        }
        if let Some(folder) = MACHINE.iter().find(|folder| is_absolute(line, folder)) {
            let rule =
                format!("the path {folder}.. is of one machine; std::env::temp_dir() is not");
            found.push(Broken::new(index + 1, rule));
        }
    }
    found
}

/// Whether a path in the line begins with the folder, rather than having it further down.
fn is_absolute(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"_-.}/*".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whitespace_at_a_line_s_end_is_found_and_an_empty_line_is_not() {
        let lines = check("a\n\nb \n\tc\t\n\r\n").into_iter().map(|broken| broken.line);
        assert_eq!(lines.collect::<Vec<_>>(), [3, 4, 5]);
    }

    #[test]
    fn absolute_paths_are_found_and_relative_ones_are_not() {
        for folder in MACHINE {
            for line in
                [format!("{folder}x"), format!("open(\"{folder}x\")"), format!("`{folder}`")]
            {
                assert_eq!(check(&line).len(), 1, "{line}");
            }
            for line in
                [format!("target{folder}x"), format!("..{folder}"), format!("${{X}}{folder}")]
            {
                assert!(check(&line).is_empty(), "{line}");
            }
        }
    }

    #[test]
    fn data_is_not_ours() {
        assert!(is_ours(".ci/run") && is_ours("docs/a.md") && is_ours("xtask/src/main.rs"));
        assert!(!is_ours("tests/golden/a.json") && !is_ours("Cargo.lock") && !is_ours("a.png"));
    }
}
