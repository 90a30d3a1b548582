"""Images of a user's own: class folders or tables become rows (file, label, split, group), and rows become RawData."""
