"""From a prepared window to scores and words: views, prompts, rows, scoring, explanations, backbones."""
