"""Commands that list or show sweeps: in the terminal and in the browser."""
