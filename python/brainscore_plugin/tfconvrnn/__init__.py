"""The published ConvRNNs for Brain-Score: a folder of brainscore_vision/models."""

from brainscore_vision import model_registry

import tfconvrnn.brainscore

for _info in tfconvrnn.models():
    model_registry[_info.name] = lambda name=_info.name: tfconvrnn.brainscore.model(name)
