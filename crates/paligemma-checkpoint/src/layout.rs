//! The spellings of tensor names, as a table of prefix rewrites.
//!
//! Inside this crate a tensor is called by its path in the modules: `vision_tower.X`,
//! `multi_modal_projector.X`, `language_model.X`, where `X` is the published leaf path. Files
//! spell the same tensors in four ways, which differ only in how a name begins. A mask VQ-VAE has
//! a file, and a spelling, of its own.

/// One way to spell tensor names in a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// What the spelling is called in reports.
    pub name: &'static str,
    /// Pairs of (beginning in the file, beginning in the modules). The first that fits applies.
    rules: &'static [(&'static str, &'static str)],
}

/// The spellings that are recognised: the first is the one written.
///
/// A later layout also fits the names of an earlier, longer one (`vision_tower.` begins
/// `vision_tower.vision_model.` too), so the order is from the longest to the shortest.
pub const LAYOUTS: [Layout; 4] = [
    Layout {
        name: "published",
        rules: &[
            ("vision_tower.vision_model.", "vision_tower."),
            ("multi_modal_projector.", "multi_modal_projector."),
            ("language_model.lm_head.", "language_model.lm_head."),
            ("language_model.model.", "language_model."),
        ],
    },
    Layout {
        name: "transformers 4.52",
        rules: &[
            ("model.vision_tower.vision_model.", "vision_tower."),
            ("model.multi_modal_projector.", "multi_modal_projector."),
            ("lm_head.", "language_model.lm_head."),
            ("model.language_model.", "language_model."),
        ],
    },
    Layout {
        name: "transformers 5",
        rules: &[
            ("vision_tower.", "vision_tower."),
            ("multi_modal_projector.", "multi_modal_projector."),
            ("language_model.lm_head.", "language_model.lm_head."),
            ("language_model.model.", "language_model."),
        ],
    },
    Layout {
        name: "transformers 5 in memory",
        rules: &[
            ("model.vision_tower.", "vision_tower."),
            ("model.multi_modal_projector.", "multi_modal_projector."),
            ("lm_head.", "language_model.lm_head."),
            ("model.language_model.", "language_model."),
        ],
    },
];

/// What modules are called in transformers from 5 on, and so in adapters for it.
pub(crate) const IN_MEMORY: &Layout = &LAYOUTS[3];

/// Names in a burnpack file, which are the paths in the modules.
pub(crate) static MODULE_PATHS: Layout = Layout {
    name: "burn modules",
    rules: &[
        ("vision_tower.", "vision_tower."),
        ("multi_modal_projector.", "multi_modal_projector."),
        ("language_model.", "language_model."),
    ],
};

/// Arrays of big_vision, which are taken apart by what they hold and not by a spelling.
pub(crate) static BIG_VISION_LAYOUT: Layout = Layout { name: "big_vision", rules: &[] };

/// The spelling of a mask VQ-VAE's names: positions in a list of layers, activations counted.
pub const MASK_LAYOUT: Layout = Layout {
    name: "vae-oid",
    rules: &[
        ("_vq_vae._embedding", "embedding"),
        ("encoder.0.", "encoder.halvings.0."),
        ("encoder.2.", "encoder.halvings.1."),
        ("encoder.4.", "encoder.halvings.2."),
        ("encoder.6.", "encoder.halvings.3."),
        ("encoder.8.net.0.", "encoder.residuals.0.first."),
        ("encoder.8.net.2.", "encoder.residuals.0.second."),
        ("encoder.8.net.4.", "encoder.residuals.0.third."),
        ("encoder.9.net.0.", "encoder.residuals.1.first."),
        ("encoder.9.net.2.", "encoder.residuals.1.second."),
        ("encoder.9.net.4.", "encoder.residuals.1.third."),
        ("encoder.10.", "encoder.output."),
        ("decoder.0.", "decoder.input."),
        ("decoder.2.net.0.", "decoder.residuals.0.first."),
        ("decoder.2.net.2.", "decoder.residuals.0.second."),
        ("decoder.2.net.4.", "decoder.residuals.0.third."),
        ("decoder.3.net.0.", "decoder.residuals.1.first."),
        ("decoder.3.net.2.", "decoder.residuals.1.second."),
        ("decoder.3.net.4.", "decoder.residuals.1.third."),
        ("decoder.4.", "decoder.doublings.0."),
        ("decoder.6.", "decoder.doublings.1."),
        ("decoder.8.", "decoder.doublings.2."),
        ("decoder.10.", "decoder.doublings.3."),
        ("decoder.12.", "decoder.output."),
    ],
};

/// The spellings of a ColPali: those of transformers before 5 and from then on, and that of
/// colpali-engine.
pub(crate) const COLPALI_LAYOUTS: [Layout; 3] = [
    Layout {
        name: "ColPali of transformers 4",
        rules: &[
            ("vlm.vision_tower.vision_model.", "vlm.vision_tower."),
            ("vlm.multi_modal_projector.", "vlm.multi_modal_projector."),
            ("vlm.language_model.model.", "vlm.language_model."),
            ("embedding_proj_layer.", "embedding_proj_layer."),
        ],
    },
    Layout {
        name: "ColPali of transformers 5",
        rules: &[
            ("vlm.vision_tower.", "vlm.vision_tower."),
            ("vlm.multi_modal_projector.", "vlm.multi_modal_projector."),
            ("vlm.language_model.model.", "vlm.language_model."),
            ("embedding_proj_layer.", "embedding_proj_layer."),
        ],
    },
    Layout {
        name: "colpali-engine",
        rules: &[
            ("model.vision_tower.vision_model.", "vlm.vision_tower."),
            ("model.multi_modal_projector.", "vlm.multi_modal_projector."),
            ("model.language_model.model.", "vlm.language_model."),
            ("custom_text_proj.", "embedding_proj_layer."),
        ],
    },
];

/// What published files call the tensor at `module_path`, of a PaliGemma or of a ColPali; none if the
/// path begins with no part of either.
pub(crate) fn published_name(module_path: &str) -> Option<String> {
    [&LAYOUTS[0], &COLPALI_LAYOUTS[0]].iter().find_map(|layout| layout.file_name(module_path))
}

/// Every spelling, the one written first.
static KNOWN: [&Layout; 8] = [
    &LAYOUTS[0],
    &LAYOUTS[1],
    &LAYOUTS[2],
    &LAYOUTS[3],
    &MASK_LAYOUT,
    &COLPALI_LAYOUTS[0],
    &COLPALI_LAYOUTS[1],
    &COLPALI_LAYOUTS[2],
];

impl Layout {
    /// The layout of a file with these tensor `names`.
    ///
    /// Chosen once for the whole checkpoint, as the layout that fits most names: one program
    /// wrote all of them, and a stray tensor must not change how the others are read. Of equals
    /// the first in [`LAYOUTS`] is taken; where the names leave a choice, both read them alike.
    pub fn detect(names: &[&str]) -> &'static Self {
        let fits = |layout: &Self| names.iter().filter(|name| layout.fits(name)).count();
        let [first, others @ ..] = KNOWN;
        let start = (first, fits(first));
        let keep_most = |best: (&'static Self, usize), &layout: &&'static Self| {
            let count = fits(layout);
            if count > best.1 { (layout, count) } else { best }
        };
        others.iter().fold(start, keep_most).0
    }

    /// The path in the modules of the tensor a file calls `file_name`; none if it is no tensor
    /// of PaliGemma under this layout.
    pub fn module_path(&self, file_name: &str) -> Option<String> {
        self.rules.iter().find_map(|(file, module)| rewrite(file_name, file, module))
    }

    /// What a file of this layout calls the tensor at `module_path`; none if the path begins
    /// with no part of PaliGemma.
    pub fn file_name(&self, module_path: &str) -> Option<String> {
        self.rules.iter().find_map(|(file, module)| rewrite(module_path, module, file))
    }

    fn fits(&self, file_name: &str) -> bool {
        self.rules.iter().any(|(file, _)| file_name.starts_with(file))
    }
}

fn rewrite(name: &str, from: &str, to: &str) -> Option<String> {
    name.strip_prefix(from).map(|rest| format!("{to}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [&str; 4] = [
        "vision_tower.encoder.layers.0.mlp.fc1.weight",
        "multi_modal_projector.linear.bias",
        "language_model.layers.1.mlp.gate_proj.weight",
        "language_model.lm_head.weight",
    ];

    #[test]
    fn every_layout_is_recognised_and_reversible() {
        for layout in &LAYOUTS {
            let names = PATHS.map(|path| layout.file_name(path).unwrap());
            assert_eq!(
                Layout::detect(&names.iter().map(String::as_str).collect::<Vec<_>>()),
                layout
            );
            for (path, name) in PATHS.iter().zip(&names) {
                assert_eq!(layout.module_path(name).as_deref(), Some(*path));
            }
        }
    }

    #[test]
    fn a_colpali_is_recognised() {
        let paths = ["vlm.vision_tower.encoder.x", "vlm.language_model.norm.weight"];
        for layout in &COLPALI_LAYOUTS {
            let paths = paths.iter().chain(&["embedding_proj_layer.bias"]);
            let names: Vec<_> = paths.clone().map(|path| layout.file_name(path).unwrap()).collect();
            let known = Layout::detect(&names.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(known, layout);
            let back = names.iter().map(|name| known.module_path(name).unwrap());
            assert!(back.eq(paths.map(|path| (*path).to_owned())), "{names:?}");
        }
    }

    #[test]
    fn a_mask_model_is_recognised() {
        let names = ["_vq_vae._embedding", "encoder.10.bias", "decoder.3.net.4.weight"];
        assert_eq!(Layout::detect(&names), &MASK_LAYOUT);
        for name in names {
            let path = MASK_LAYOUT.module_path(name).unwrap();
            assert_eq!(MASK_LAYOUT.file_name(&path).as_deref(), Some(name));
        }
    }

    #[test]
    fn a_stray_tensor_does_not_change_the_layout() {
        let layout = &LAYOUTS[3];
        let mut names: Vec<_> = PATHS.iter().map(|path| layout.file_name(path).unwrap()).collect();
        names.push("vision_tower.vision_model.stray".to_owned());
        assert_eq!(Layout::detect(&names.iter().map(String::as_str).collect::<Vec<_>>()), layout);
        assert_eq!(layout.module_path("vision_tower.vision_model.stray"), None);
    }
}
