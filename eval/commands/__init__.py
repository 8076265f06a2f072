"""Commands of `python -m eval`; each module registers its own."""
