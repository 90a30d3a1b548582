"""The confirm runs of a results folder: which are planned, which are there, and what they say."""
