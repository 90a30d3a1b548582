"""The user's own Python files: how they are read and trusted, and what becomes of their output."""
