"""Numbers with intervals: estimates, resampling, correlation, links; thin over scipy."""
