"""Schooling: towers learn to see and to hear from dense targets, before a language model has to read them."""
