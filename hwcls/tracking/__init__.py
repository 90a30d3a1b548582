"""Where results are written: the records on disk, and the trackers that follow them."""
