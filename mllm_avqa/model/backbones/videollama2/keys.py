"""Names of the weights: how the published checkpoint calls what `model` holds."""

from __future__ import annotations

# (published, ours), applied in order; regular expressions that transformers can also turn round when it saves
RENAMED = (
    (r"^model\.embed_tokens\.", "^model.language_model.embed_tokens."),
    (r"^model\.layers\.", "^model.language_model.layers."),
    (r"^model\.norm\.", "^model.language_model.norm."),
    (r"^model\.vision_tower\.vision_tower\.vision_model\.", "^model.visual.tower."),
    (r"^model\.mm_projector\.", "^model.visual.connector."),
    (r"^model\.audio_tower\.", "^model.audio_tower.beats."),
    (r"^model\.mm_projector_a\.", "^model.audio_tower.proj."),
    (r"pos_conv\.0\.weight_g", "pos_conv.gain"),  # weight_g and weight_v mean torch's own weight norm to transformers
    (r"pos_conv\.0\.weight_v", "pos_conv.direction"),
    (r"pos_conv\.0\.bias", "pos_conv.bias"),
)
# Published, but no part of the model: BEATs' AudioSet classifier, and its one bias table again in every later layer.
UNUSED = (
    r"audio_tower\.beats\.predictor\.",
    r"audio_tower\.beats\.encoder\.layers\.[1-9]\d*\.self_attn\.relative_attention_bias\.",
)
