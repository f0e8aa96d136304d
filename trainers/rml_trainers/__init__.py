"""The science of rml: networks, noise, mutual learning, rectification and the one training loop.

Knows torch, torchvision, timm, numpy, pyarrow and safetensors; never Ray, MLflow or pandas, so that
it trains as it is on any machine with a GPU.

Shapes are written with these symbols everywhere in the package:
B batch · C channels · H, W pixels of the crop · h, w cells of the feature map · K classes · D
feature width · N images. 255 is the ignore label.
"""

RESULT_VERSION = 1
"""Raised whenever a change of the trainer changes any bit of a result, rounding included; part of
every run id. Where it changes those of few configurations, these get other ids instead
(`training.identity.mended`). Another processor or release of torch rounds otherwise under the same
version (docs/tracking-and-tables.md)."""

IGNORE_LABEL = 255
"""Label of pixels that are neither trained on nor scored."""
