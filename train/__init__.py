"""A manifest -> a model, predictions, a report."""
