"""Features of a frozen backbone: computed once, kept in the cache, shared by trials."""
