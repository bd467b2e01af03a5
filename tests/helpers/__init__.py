"""What several test modules need: recordings, folders, models and readers of reference values made at one place."""
