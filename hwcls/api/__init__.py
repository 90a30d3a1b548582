"""hwcls from Python: results as data frames and plain objects, and the trained models. See docs/how-to/python.md."""
