"""hwcls from Python: results as data frames and plain objects, and the trained models. docs/python.md describes it."""
