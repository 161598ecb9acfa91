"""What Brain-Score runs for the plugin."""

import pytest
from brainscore_vision import load_model


@pytest.mark.parametrize("identifier", ["rgc_intermediate", "ugrnn_intermediate"])
def test_has_identifier(identifier: str) -> None:
    """Every model loads under its name."""
    model = load_model(identifier)
    assert model.identifier == identifier
    assert set(model.layers) == {"V4", "IT"}
