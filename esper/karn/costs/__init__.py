"""What each blueprint costs, by formulas that build nothing."""
