"""What a trial and a sweep are: frozen descriptions, no torch."""
