"""Boards that recompute every score from the evidence submitted."""
