"""What a machine sees; knows nothing of humans."""
