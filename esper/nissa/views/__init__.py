"""SQL over the projections: one named question per file."""
