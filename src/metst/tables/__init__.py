"""Tables as people write them: how text is laid out, how names are spelt, what is said once of many rows."""
