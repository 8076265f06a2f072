"""One module per kind of task, each with a `KIND`; see `eval.suite.registry`."""
