"""Correlations as people read them: terminal, Markdown, LaTeX, JSON and one HTML file."""
