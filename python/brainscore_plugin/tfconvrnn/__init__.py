"""The published ConvRNNs for Brain-Score: a folder of brainscore_vision/models."""

from brainscore_vision import model_registry

from .model import get_model

# Brain-Score looks for these lines as text.
model_registry["gru_intermediate"] = lambda: get_model("gru_intermediate")
model_registry["gru_shallow"] = lambda: get_model("gru_shallow")
model_registry["intersectionrnn_intermediate"] = lambda: get_model("intersectionrnn_intermediate")
model_registry["intersectionrnn_shallow"] = lambda: get_model("intersectionrnn_shallow")
model_registry["lstm_intermediate"] = lambda: get_model("lstm_intermediate")
model_registry["lstm_shallow"] = lambda: get_model("lstm_shallow")
model_registry["rgc_intermediate"] = lambda: get_model("rgc_intermediate")
model_registry["rgc_intermediate_dthresh"] = lambda: get_model("rgc_intermediate_dthresh")
model_registry["rgc_intermediate_t22_tmaxconf"] = lambda: get_model("rgc_intermediate_t22_tmaxconf")
model_registry["rgc_intermediate_tmaxconf"] = lambda: get_model("rgc_intermediate_tmaxconf")
model_registry["rgc_shallow"] = lambda: get_model("rgc_shallow")
model_registry["simplernn_intermediate"] = lambda: get_model("simplernn_intermediate")
model_registry["simplernn_shallow"] = lambda: get_model("simplernn_shallow")
model_registry["timedecay_intermediate"] = lambda: get_model("timedecay_intermediate")
model_registry["timedecay_shallow"] = lambda: get_model("timedecay_shallow")
model_registry["ugrnn_intermediate"] = lambda: get_model("ugrnn_intermediate")
model_registry["ugrnn_intermediate_t30"] = lambda: get_model("ugrnn_intermediate_t30")
model_registry["ugrnn_intermediate_t30_dthresh"] = lambda: get_model("ugrnn_intermediate_t30_dthresh")
model_registry["ugrnn_intermediate_t30_tmaxconf"] = lambda: get_model("ugrnn_intermediate_t30_tmaxconf")
model_registry["ugrnn_shallow"] = lambda: get_model("ugrnn_shallow")
