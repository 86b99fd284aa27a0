"""What was shown: readers of every layout of trials, and writing them."""
