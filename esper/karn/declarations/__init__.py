"""What the catalogue says of each blueprint, by family."""
