"""Tolaria: the training run - epochs, checkpoints, rollback, resume."""
