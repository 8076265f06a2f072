"""Public subjective-quality datasets: a card per dataset, and one converter that turns label files into `Record`s.

A card (`cards/*.yaml`) states what was rated, on which scale and in which direction, and the published copies of the
label files ("layouts"). `tables`, `matlab` read a file into rows; `labels` turns a row into scores; `convert` ties it
together. What cannot be read as stated is refused or counted, never guessed and never dropped in silence.
"""
