"""Commands that are killed, told to go, or hindered at each step in which they change something on the disk."""
