"""Karn: the catalogue of blueprints - which modules can be grown."""
