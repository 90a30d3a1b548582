"""What is wrong with a config in plain words, and how to mend it: wrong values, unknown keys."""
