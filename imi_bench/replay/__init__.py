"""Running an observer over many trials."""
