"""Stage 4: the networks and the selective scan they are made of."""
