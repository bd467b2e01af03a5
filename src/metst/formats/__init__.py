"""Files for and from other programs; one format per module."""
