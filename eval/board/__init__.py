"""A suite: many tasks, many checkpoints, one leaderboard. Every task kind is a thin adapter on a room of `eval`."""
