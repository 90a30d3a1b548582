"""Commands whose results go into papers."""
