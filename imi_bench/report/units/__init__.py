"""The page of a network's units: where they come from, what drives them, trials made of them."""
