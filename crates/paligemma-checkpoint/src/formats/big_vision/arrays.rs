//! What each array of a big_vision checkpoint holds.
//!
//! Source: `big_vision/models/vit.py` and `big_vision/models/ppp/gemma.py`; the way to the published
//! names is that of transformers' `convert_paligemma_weights_to_hf.py` and
//! `convert_paligemma2_weights_to_hf.py` (commit 15ea02a).

/// An array and the tensors in it.
pub(super) struct Array {
    pub(super) name: String,
    /// The array's axes for one tensor, after those of layers and of several tensors.
    pub(super) axes: Vec<&'static str>,
    /// The tensor's axes, each made of one or two of those.
    pub(super) tensor: Vec<Vec<&'static str>>,
    /// The tensors by their paths in the modules; `{}` stands for a layer.
    pub(super) holds: Vec<String>,
}

/// A row of the tables: name, axes, axes of the tensor (those in brackets are one), tensors. Widths are
/// d and p, a head's k, heads h, inner m, positions n, tokens v.
type Row = (&'static str, &'static str, &'static str, &'static [&'static str]);

/// The tower around its layers, and the projector, which is its head.
const AROUND_VISION: [Row; 7] = [
    ("embedding/kernel", "y x c d", "d c y x", &["vision_tower.embeddings.patch_embedding.weight"]),
    ("embedding/bias", "d", "d", &["vision_tower.embeddings.patch_embedding.bias"]),
    ("pos_embedding", "1 n d", "(1 n) d", &["vision_tower.embeddings.position_embedding.weight"]),
    ("Transformer/encoder_norm/scale", "d", "d", &["vision_tower.post_layernorm.weight"]),
    ("Transformer/encoder_norm/bias", "d", "d", &["vision_tower.post_layernorm.bias"]),
    ("head/kernel", "d p", "p d", &["multi_modal_projector.linear.weight"]),
    ("head/bias", "p", "p", &["multi_modal_projector.linear.bias"]),
];

const VISION_MLP: [Row; 8] = [
    ("LayerNorm_0/scale", "d", "d", &["layer_norm1.weight"]),
    ("LayerNorm_0/bias", "d", "d", &["layer_norm1.bias"]),
    ("LayerNorm_1/scale", "d", "d", &["layer_norm2.weight"]),
    ("LayerNorm_1/bias", "d", "d", &["layer_norm2.bias"]),
    ("MlpBlock_0/Dense_0/kernel", "d m", "m d", &["mlp.fc1.weight"]),
    ("MlpBlock_0/Dense_0/bias", "m", "m", &["mlp.fc1.bias"]),
    ("MlpBlock_0/Dense_1/kernel", "m d", "d m", &["mlp.fc2.weight"]),
    ("MlpBlock_0/Dense_1/bias", "d", "d", &["mlp.fc2.bias"]),
];

const VISION_ATTENTION: [Row; 8] = [
    ("query/kernel", "d h k", "(h k) d", &["q_proj.weight"]),
    ("query/bias", "h k", "(h k)", &["q_proj.bias"]),
    ("key/kernel", "d h k", "(h k) d", &["k_proj.weight"]),
    ("key/bias", "h k", "(h k)", &["k_proj.bias"]),
    ("value/kernel", "d h k", "(h k) d", &["v_proj.weight"]),
    ("value/bias", "h k", "(h k)", &["v_proj.bias"]),
    ("out/kernel", "h k d", "d (h k)", &["out_proj.weight"]),
    ("out/bias", "d", "d", &["out_proj.bias"]),
];

const AROUND_TEXT: [Row; 2] = [
    ("embedder/input_embedding", "v d", "v d", &["embed_tokens.weight"]),
    ("final_norm/scale", "d", "d", &["norm.weight"]),
];

const TEXT: [Row; 6] = [
    ("attn/q_einsum/w", "h d k", "(h k) d", &["self_attn.q_proj.weight"]),
    (
        "attn/kv_einsum/w",
        "h d k",
        "(h k) d",
        &["self_attn.k_proj.weight", "self_attn.v_proj.weight"],
    ),
    ("attn/attn_vec_einsum/w", "h k d", "d (h k)", &["self_attn.o_proj.weight"]),
    ("mlp/gating_einsum", "d m", "m d", &["mlp.gate_proj.weight", "mlp.up_proj.weight"]),
    ("mlp/linear", "m d", "d m", &["mlp.down_proj.weight"]),
    ("pre_attention_norm/scale", "d", "d", &["input_layernorm.weight"]),
];

/// The other norm of PaliGemma's layers, which the published files name after attention.
const NORMS_1: [Row; 1] = [("pre_ffw_norm/scale", "d", "d", &["post_attention_layernorm.weight"])];

/// The other norms of PaliGemma 2's.
const NORMS_2: [Row; 3] = [
    ("post_attention_norm/scale", "d", "d", &["post_attention_layernorm.weight"]),
    ("pre_ffw_norm/scale", "d", "d", &["pre_feedforward_layernorm.weight"]),
    (POST_NORM, "d", "d", &["post_feedforward_layernorm.weight"]),
];

const POST_NORM: &str = "post_ffw_norm/scale";
const TEXT_LAYERS: &str = "llm/layers/";

/// Whether an array of this name is there in PaliGemma 2 alone.
pub(super) fn is_second(name: &str) -> bool {
    name.strip_prefix(TEXT_LAYERS) == Some(POST_NORM)
}

/// The arrays of a generation: of PaliGemma 2, whose layers have norms after their blocks, or of the
/// first.
pub(super) fn arrays(post_norms: bool) -> Vec<Array> {
    const VISION_LAYERS: &str = "img/Transformer/encoderblock/";
    const ATTENTION: &str = "img/Transformer/encoderblock/MultiHeadDotProductAttention_0/";
    let norms: &[Row] = if post_norms { &NORMS_2 } else { &NORMS_1 };
    let groups: [(&str, &str, &[Row]); 6] = [
        ("img/", "", &AROUND_VISION),
        (VISION_LAYERS, "vision_tower.encoder.layers.{}.", &VISION_MLP),
        (ATTENTION, "vision_tower.encoder.layers.{}.self_attn.", &VISION_ATTENTION),
        ("llm/", "language_model.", &AROUND_TEXT),
        (TEXT_LAYERS, "language_model.layers.{}.", &TEXT),
        (TEXT_LAYERS, "language_model.layers.{}.", norms),
    ];
    let of = |(start, path, rows): (&str, &str, &[Row])| {
        let array = |(name, axes, tensor, holds): &Row| Array {
            name: format!("{start}{name}"),
            axes: axes.split(' ').collect(),
            tensor: groups_of(tensor),
            holds: holds.iter().map(|name| format!("{path}{name}")).collect(),
        };
        rows.iter().map(array).collect::<Vec<_>>()
    };
    groups.into_iter().flat_map(of).collect()
}

/// `(h k) d` as `[[h, k], [d]]`.
fn groups_of(pattern: &'static str) -> Vec<Vec<&'static str>> {
    let mut groups: Vec<Vec<&str>> = Vec::new();
    let mut open = false;
    for word in pattern.split(' ') {
        let axis = word.trim_matches(['(', ')']);
        match groups.last_mut() {
            Some(group) if open => group.push(axis),
            _ => groups.push(vec![axis]),
        }
        open = (open || word.starts_with('(')) && !word.ends_with(')');
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_in_brackets_are_one() {
        assert_eq!(groups_of("d (h k)"), [vec!["d"], vec!["h", "k"]]);
        assert_eq!(groups_of("(h k) d"), [vec!["h", "k"], vec!["d"]]);
        assert_eq!(groups_of("d c y x"), [["d"], ["c"], ["y"], ["x"]]);
    }

    #[test]
    fn every_array_has_the_axes_of_its_tensors() {
        for (post_norms, count) in [(false, 32), (true, 34)] {
            let arrays = arrays(post_norms);
            assert_eq!(arrays.len(), count);
            for Array { name, axes, tensor, .. } in arrays {
                let mut sorted = [axes, tensor.concat()];
                for axes in &mut sorted {
                    axes.sort_unstable();
                }
                assert_eq!(sorted[0], sorted[1], "{name}");
            }
        }
    }
}
