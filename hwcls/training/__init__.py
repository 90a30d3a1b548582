"""One training: from a TrialConfig to epochs on record, without Ray and without W&B."""
