"""The pages of all sweeps of a folder over HTTP, on the loopback interface, read-only."""
