"""Measured ratios between this project and the obvious alternative, on the machine at hand."""
