//! Rules of pages: a relative link leads to a file that exists.

use std::path::Path;

use super::Broken;

/// The links of a page in `folder` that lead nowhere.
pub(super) fn check(folder: &Path, content: &str) -> Vec<Broken> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in content.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let lost = links(&without_code(line)).into_iter().filter(|link| !leads(folder, link));
            found.extend(
                lost.map(|link| Broken::new(index + 1, format!("the link {link} leads nowhere"))),
            );
        }
    }
    found
}

/// The line with what stands between backticks left out.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// Targets of `[text](target)`, `[name]: target` and `src="target"`, titles left out.
fn links(line: &str) -> Vec<String> {
    let after = |mark: &'static str, end: &'static str| {
        line.match_indices(mark).filter_map(move |(start, _)| {
            line[start + mark.len()..].split(|c| end.contains(c)).next().map(str::to_owned)
        })
    };
    let mut found: Vec<String> = after("](", ") ").chain(after("src=\"", "\"")).collect();
    if let Some((name, target)) = line.trim_start().split_once("]: ")
        && name.starts_with('[')
        && !name.contains(']')
    {
        found.extend(target.split_whitespace().next().map(str::to_owned));
    }
    found
}

/// Whether the link stays on its page, leaves the repository, or names a file that exists.
fn leads(folder: &Path, link: &str) -> bool {
    let link = link.trim_start_matches('<').trim_end_matches('>');
    let path = link.split('#').next().unwrap_or_default();
    path.is_empty()
        || path.contains("://")
        || path.starts_with("mailto:")
        || folder.join(path).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(content: &str) -> Vec<usize> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("images")).unwrap();
        std::fs::write(folder.path().join("images").join("scene.png"), "").unwrap();
        check(folder.path(), content).into_iter().map(|broken| broken.line).collect()
    }

    #[test]
    fn links_to_files_folders_anchors_and_sites_are_fine() {
        let page = "\
![a scene](images/scene.png \"with a title\") and [its folder](images)
<img src=\"images/scene.png\" width=\"448\">
[above](#top), [there](images/scene.png#x), [site](https://example.org/a), <mailto:a@example.org>
[site]: https://example.org
[scene]: images/scene.png
";
        assert_eq!(lost(page), Vec::<usize>::new());
    }

    #[test]
    fn every_form_of_a_lost_link_is_found() {
        let page = "\
![a](images/none.png)
two on a line: [a](images) and [b](docs/none.md#x), <img src=\"none.png\">
[c]: none.md
[d](<none.md>)
";
        assert_eq!(lost(page), [1, 2, 2, 3, 4]);
    }

    #[test]
    fn code_is_not_read_for_links() {
        assert_eq!(lost("`x[0](none)` then\n```\n[a](none)\n```\n[b](none)\n"), [5]);
    }
}
