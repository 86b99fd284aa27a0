"""The one way to a network: cards, references, weights, preprocessing, layers."""
