"""One training: from a TrialConfig to recorded epochs, without Ray and without W&B."""
