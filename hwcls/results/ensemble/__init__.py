"""The ensemble of a sweep: chosen among its runs, written to ensemble/, and described."""
