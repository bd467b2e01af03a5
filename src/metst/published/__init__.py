"""What others published, as code and numbers: their decoding rules and their motion extractor."""
