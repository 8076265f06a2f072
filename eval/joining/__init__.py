"""Files of predictions and labels -> matched pairs. What does not match, failed or has no score is counted by name."""

from eval.joining.entries import ColumnNames, Entry, Vote, read_entries, read_labels, read_predictions, record_entry
from eval.joining.match import Joined, join, named, single
from eval.joining.rows import FORMATS, read_rows

__all__ = [
    "FORMATS",
    "ColumnNames",
    "Entry",
    "Joined",
    "Vote",
    "join",
    "named",
    "read_entries",
    "read_labels",
    "read_predictions",
    "read_rows",
    "record_entry",
    "single",
]
