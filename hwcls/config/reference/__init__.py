"""What a sweep file may hold, from the config classes: each key with its facts, and the JSON schema."""
