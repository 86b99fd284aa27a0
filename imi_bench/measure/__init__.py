"""Learning from people: heads, nested folds, and the learned measure as an observer."""
