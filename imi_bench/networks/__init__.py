"""Where trials come from: networks, units, activations, exemplars, feature visualisations."""
