"""What a reader must know before trusting the values, a sentence each."""
