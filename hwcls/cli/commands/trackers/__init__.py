"""Commands of single trackers."""
