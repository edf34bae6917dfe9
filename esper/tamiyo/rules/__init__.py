"""Pure rules: what may happen, and what each happening means."""
