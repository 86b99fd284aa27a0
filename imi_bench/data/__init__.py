"""What was shown and what was answered."""
