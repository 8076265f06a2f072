"""Clips with known faults: sources, plans, doses, labels, and the files that come of them."""
