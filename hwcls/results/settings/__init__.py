"""Which settings matter, and which ranges to extend."""
