"""One shell for every HTML page: its head, its style, its scripts, how text gets into it."""
