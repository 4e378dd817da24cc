//! `layers`: proves from `cargo metadata` that the workspace's dependencies run one way.
//!
//! Dev-dependencies are free: what a crate's own tests and examples use reaches no user.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use crate::workspace::{self, Result};

/// What one package of the workspace may depend on.
struct Layer {
    package: &'static str,
    /// Packages of the workspace it may use; `None` is all of them.
    siblings: Option<&'static [&'static str]>,
    /// Packages from outside that it may not use itself.
    never: &'static [&'static str],
}

/// Model crates compute: they read no file, picture or text.
const NO_FILES: &[&str] = &["hf-hub", "image", "safetensors", "serde_json", "tokenizers"];

/// The rooms of the house (docs/architecture.md), lowest first.
const LAYERS: &[Layer] = &[
    layer("paligemma-packed", &[], NO_FILES),
    layer("paligemma-nn", &["paligemma-packed"], NO_FILES),
    layer("paligemma-processor", &[], &[]),
    layer("paligemma-data", &["paligemma-processor"], &[]),
    layer("paligemma-metrics", &[], NO_FILES),
    layer("paligemma-overlay", &["paligemma-processor"], &[]),
    layer("paligemma-siglip", &["paligemma-nn"], NO_FILES),
    layer("paligemma-gemma", &["paligemma-nn"], NO_FILES),
    layer("paligemma-mask", &["paligemma-nn"], NO_FILES),
    layer(
        "paligemma-checkpoint",
        &[
            "paligemma-gemma",
            "paligemma-mask",
            "paligemma-nn",
            "paligemma-packed",
            "paligemma-siglip",
        ],
        &[],
    ),
    layer(
        "paligemma",
        &[
            "paligemma-checkpoint",
            "paligemma-gemma",
            "paligemma-mask",
            "paligemma-nn",
            "paligemma-processor",
            "paligemma-siglip",
        ],
        &[],
    ),
    layer("paligemma-batch", &["paligemma", "paligemma-processor"], &[]),
    layer("paligemma-train", &["paligemma", "paligemma-checkpoint", "paligemma-nn"], &[]),
    layer(
        "paligemma-pocket",
        &[
            "paligemma",
            "paligemma-checkpoint",
            "paligemma-gemma",
            "paligemma-mask",
            "paligemma-nn",
            "paligemma-processor",
            "paligemma-siglip",
            "paligemma-train",
        ],
        &[],
    ),
    layer("paligemma-search", &["paligemma", "paligemma-processor"], &[]),
    layer(
        "paligemma-cli",
        &[
            "paligemma",
            "paligemma-batch",
            "paligemma-checkpoint",
            "paligemma-data",
            "paligemma-metrics",
            "paligemma-overlay",
            "paligemma-processor",
            "paligemma-search",
        ],
        &[],
    ),
    Layer { package: "paligemma-benches", siblings: None, never: &[] },
    Layer { package: "paligemma-tests", siblings: None, never: &[] },
    layer("xtask", &[], &[]),
];

/// Packages that are plain data all the way down: no name in their tree begins so.
const FREE_OF: &[(&str, &str)] = &[
    ("paligemma-data", "burn"),
    ("paligemma-metrics", "burn"),
    ("paligemma-overlay", "burn"),
    ("paligemma-packed", "burn"),
    ("paligemma-processor", "burn"),
];

const fn layer(
    package: &'static str,
    siblings: &'static [&'static str],
    never: &'static [&'static str],
) -> Layer {
    Layer { package, siblings: Some(siblings), never }
}

/// Prints the edges and checks them.
///
/// # Errors
/// One line for each edge that the table does not allow.
pub(crate) fn run() -> Result {
    let metadata = workspace::metadata(&["--all-features"])?;
    let graph = Graph::of(&metadata);
    for (package, uses) in graph.siblings() {
        println!("{package:<22} -> {}", if uses.is_empty() { "-" } else { &uses });
    }
    let violations = graph.violations();
    if violations.is_empty() {
        return Ok(());
    }
    Err(format!("layers are crossed:\n  {}", violations.join("\n  ")))
}

/// Packages by their id, with the edges that reach a user.
struct Graph {
    /// Names of all packages, those from outside included.
    names: BTreeMap<String, String>,
    /// Ids that a package's normal and build dependencies resolve to.
    edges: BTreeMap<String, BTreeSet<String>>,
    /// Ids of the workspace's own packages.
    members: BTreeSet<String>,
}

impl Graph {
    /// Reads what `cargo metadata` printed.
    fn of(metadata: &Value) -> Self {
        let names = list(&metadata["packages"])
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let edges = list(&metadata["resolve"]["nodes"])
            .map(|node| {
                let shipped = list(&node["deps"])
                    .filter(|dep| list(&dep["dep_kinds"]).any(|kind| kind["kind"] != "dev"));
                (text(&node["id"]), shipped.map(|dep| text(&dep["pkg"])).collect())
            })
            .collect();
        Self { names, edges, members: list(&metadata["workspace_members"]).map(text).collect() }
    }

    fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.names.get(id).map_or(id, String::as_str)
    }

    fn edges(&self, id: &str) -> impl Iterator<Item = &String> {
        self.edges.get(id).into_iter().flatten()
    }

    /// Each package of the workspace with the packages of the workspace that it uses.
    fn siblings(&self) -> impl Iterator<Item = (&str, String)> {
        self.members.iter().map(|id| {
            let used = self.edges(id).filter(|to| self.members.contains(*to));
            (self.name(id), used.map(|to| self.name(to)).collect::<Vec<_>>().join(", "))
        })
    }

    fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for id in &self.members {
            let name = self.name(id);
            let Some(layer) = LAYERS.iter().find(|layer| layer.package == name) else {
                found.push(format!("{name} has no layer: give it a row in xtask/src/layers.rs"));
                continue;
            };
            for to in self.edges(id) {
                let (used, own) = (self.name(to), self.members.contains(to));
                if own && layer.siblings.is_some_and(|allowed| !allowed.contains(&used)) {
                    found.push(format!("{name} may not depend on {used}"));
                } else if !own && layer.never.contains(&used) {
                    found.push(format!("{name} computes and may not depend on {used}"));
                }
            }
            for (_, prefix) in FREE_OF.iter().filter(|(package, _)| *package == name) {
                if let Some(path) = self.path(id, prefix) {
                    found.push(format!("{name} may not reach {prefix}: {}", path.join(" > ")));
                }
            }
        }
        found
    }

    /// A shortest path of names from the package to one whose name begins with `prefix`.
    fn path<'a>(&'a self, from: &'a str, prefix: &str) -> Option<Vec<&'a str>> {
        let mut seen = BTreeSet::from([from]);
        let mut queue = VecDeque::from([vec![from]]);
        while let Some(path) = queue.pop_front() {
            let last = path.last().copied()?;
            if path.len() > 1 && self.name(last).starts_with(prefix) {
                return Some(path.into_iter().map(|id| self.name(id)).collect());
            }
            for next in self.edges(last) {
                if seen.insert(next) {
                    queue.push_back([path.as_slice(), &[next]].concat());
                }
            }
        }
        None
    }
}

/// The elements of an array, none for anything else.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Metadata of `members` and of packages from outside, with edges (from, to, kind); ids are
    /// the names with a mark, so that no code can take one for the other.
    fn graph(members: &[&str], edges: &[(&str, &str, Option<&str>)]) -> Graph {
        let id = |name: &str| format!("id+{name}");
        let mut names: BTreeSet<&str> = members.iter().copied().collect();
        names.extend(edges.iter().flat_map(|(from, to, _)| [*from, *to]));
        let node = |name: &&str| {
            let deps = edges.iter().filter(|(from, ..)| from == name);
            let deps = deps.map(|(_, to, kind)| {
                json!({"pkg": id(to), "dep_kinds": [{"kind": kind, "target": null}]})
            });
            json!({"id": id(name), "deps": deps.collect::<Vec<_>>()})
        };
        let package = |name: &&str| json!({"id": id(name), "name": name});
        Graph::of(&json!({
            "packages": names.iter().map(package).collect::<Vec<_>>(),
            "workspace_members": members.iter().map(|name| id(name)).collect::<Vec<_>>(),
            "resolve": {"nodes": names.iter().map(node).collect::<Vec<_>>()},
        }))
    }

    #[test]
    fn edges_downwards_are_allowed() {
        let members = ["paligemma", "paligemma-siglip", "paligemma-nn", "paligemma-tests"];
        let edges = [
            ("paligemma", "paligemma-siglip", None),
            ("paligemma-siglip", "paligemma-nn", None),
            ("paligemma-nn", "burn", None),
            ("paligemma-tests", "paligemma", None),
        ];
        let graph = graph(&members, &edges);
        assert_eq!(graph.violations(), Vec::<String>::new());
        let siblings: Vec<_> = graph.siblings().collect();
        assert!(siblings.contains(&("paligemma", "paligemma-siglip".to_owned())));
        assert!(siblings.contains(&("paligemma-nn", String::new())));
    }

    #[test]
    fn an_edge_upwards_or_sideways_is_named() {
        let members = ["paligemma-gemma", "paligemma-siglip", "paligemma-nn", "xtask"];
        let edges = [
            ("paligemma-nn", "paligemma-gemma", None),
            ("paligemma-siglip", "paligemma-gemma", Some("build")),
            ("xtask", "paligemma-nn", None),
        ];
        let expected = [
            "paligemma-nn may not depend on paligemma-gemma",
            "paligemma-siglip may not depend on paligemma-gemma",
            "xtask may not depend on paligemma-nn",
        ];
        assert_eq!(graph(&members, &edges).violations(), expected);
    }

    #[test]
    fn model_crates_read_no_files_but_their_tests_may() {
        let members = ["paligemma-gemma", "paligemma-checkpoint"];
        let edges = [
            ("paligemma-gemma", "tokenizers", None),
            ("paligemma-gemma", "safetensors", Some("dev")),
            ("paligemma-gemma", "paligemma-checkpoint", Some("dev")),
            ("paligemma-checkpoint", "safetensors", None),
        ];
        let expected = ["paligemma-gemma computes and may not depend on tokenizers"];
        assert_eq!(graph(&members, &edges).violations(), expected);
    }

    #[test]
    fn burn_below_the_processor_is_found_with_its_shortest_path() {
        let edges = [
            ("paligemma-processor", "image", None),
            ("image", "resizer", None),
            ("resizer", "filters", None),
            ("filters", "image", None),
            ("filters", "burn-std", None),
            ("image", "burn-test", Some("dev")),
        ];
        let path = "paligemma-processor > image > resizer > filters > burn-std";
        let expected = [format!("paligemma-processor may not reach burn: {path}")];
        assert_eq!(graph(&["paligemma-processor"], &edges).violations(), expected);
    }

    #[test]
    fn a_package_without_a_row_is_a_violation() {
        let found = graph(&["paligemma-attic"], &[]).violations();
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("paligemma-attic has no layer"), "{found:?}");
    }

    #[test]
    fn the_table_itself_has_no_cycle() {
        let below = |name: &str| {
            let row = LAYERS.iter().find(|layer| layer.package == name);
            row.and_then(|layer| layer.siblings).unwrap_or_default()
        };
        let mut settled: BTreeSet<&str> = BTreeSet::new();
        for _ in LAYERS {
            let names = LAYERS.iter().map(|layer| layer.package);
            let ready = |name: &&str| below(name).iter().all(|used| settled.contains(used));
            let ready: Vec<&str> = names.filter(ready).collect();
            settled.extend(ready);
        }
        assert_eq!(settled.len(), LAYERS.len());
    }
}
