"""What may change in a sweep that has trials, and which of them then still count."""
