"""The Pareto front of a sweep with several metrics: its trials, and how they are shown."""
