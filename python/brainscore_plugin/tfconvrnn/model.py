"""What Brain-Score asks of a plugin's models."""

from __future__ import annotations

import tfconvrnn.brainscore

BIBTEX = """@article{nayebi2022recurrent,
    title = {Recurrent Connections in the Primate Ventral Visual Stream Mediate a Tradeoff Between Task Performance and
             Network Size During Core Object Recognition},
    author = {Nayebi, Aran and Sagastuy-Brena, Javier and Bear, Daniel M. and Kar, Kohitij and Kubilius, Jonas and
              Ganguli, Surya and Sussillo, David and DiCarlo, James J. and Yamins, Daniel L. K.},
    journal = {Neural Computation},
    year = {2022},
    doi = {10.1162/neco_a_01506}
}"""


def get_model(identifier: str) -> tfconvrnn.brainscore.BrainModel:
    """Return a model with its trained weights, which are fetched when it first looks at something."""
    return tfconvrnn.brainscore.model(identifier)


def get_bibtex(model_identifier: str) -> str:
    """Return what to cite."""
    return BIBTEX
