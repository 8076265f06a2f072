"""Descriptions of clips: what they claim, checked against records and scores, and what a judge says of them."""
