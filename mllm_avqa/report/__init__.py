"""Reports of a `Rating` for people: terminal and one self-contained HTML file."""
