"""Machine interpretability scores, from arrays and end to end."""
