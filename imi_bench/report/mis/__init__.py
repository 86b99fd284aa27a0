"""The page of a machine interpretability run: distribution, layers, best and worst units."""
