"""From evidence to behaviour: links, psychometric functions, calibration."""
