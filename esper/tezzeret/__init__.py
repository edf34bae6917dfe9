"""Tezzeret: the forge - compiles blueprints into kernel bundles, away from the training."""
