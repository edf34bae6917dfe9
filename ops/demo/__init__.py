"""The demo: a small network grows on real images, through the public API and an ordinary training loop."""
