"""Anybody's predictions against anybody's labels: the numbers, and the tables and pages that tell them."""
