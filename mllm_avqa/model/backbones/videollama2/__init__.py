"""VideoLLaMA2.1-AV (arXiv 2406.07476): SigLIP frames through a spatio-temporal convolution, BEATs sound, Qwen2.

`backbone` is the family, `model` the network, `connector` and `beats` the parts transformers does not have, `config`
and `keys` read a published checkpoint, `fbank` makes its sound features.
"""

from mllm_avqa.model.backbones.videollama2.backbone import VideoLlama2

FAMILY = VideoLlama2
