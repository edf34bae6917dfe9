"""What the stack runs on."""
