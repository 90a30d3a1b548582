"""Data sets, decoded once and augmented on the device."""
