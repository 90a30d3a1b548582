"""Several trained models as one: the average of their probabilities, or of their weights."""
