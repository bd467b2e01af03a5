"""Videos and motion with known micro-expressions."""
