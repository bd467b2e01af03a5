"""How people and their programs spell: files of text become cells, names meet, and what repeats is said once."""
