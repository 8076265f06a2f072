"""A talk about a rating: what a question asks (`reading`), and what the rating answers (`answers`)."""
