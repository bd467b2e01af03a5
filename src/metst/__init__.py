"""metst: find micro-expressions in long videos of a face and say what they express."""
