"""The experiments: models, strategies, asking, measuring, history. Knows nothing of how it is shown."""
