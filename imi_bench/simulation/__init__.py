"""Made-up truth: scenes, planted units, a panel, studies in the released format."""
