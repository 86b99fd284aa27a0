"""The command line: one small file per group of verbs, each a call into the modules."""
