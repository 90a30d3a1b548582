"""The sweeps of a folder, and the state of each."""
