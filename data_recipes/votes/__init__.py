"""Raw votes of people -> scores per clip: read a file, estimate, give labels.

>>> votes = read_votes("ratings.csv")
>>> labels = to_labels(estimate(votes, "p910"))  # clip name -> Label
"""

from __future__ import annotations

from data_recipes.votes.estimates import MODELS, Estimate, Model, Screening, bias_corrected, estimate, screen, summary
from data_recipes.votes.reading import Columns, read_votes
from data_recipes.votes.results import to_labels
from data_recipes.votes.table import Votes, VotesError

__all__ = [
    "MODELS",
    "Columns",
    "Estimate",
    "Model",
    "Screening",
    "Votes",
    "VotesError",
    "bias_corrected",
    "estimate",
    "read_votes",
    "screen",
    "summary",
    "to_labels",
]
