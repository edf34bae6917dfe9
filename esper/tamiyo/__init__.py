"""Tamiyo: the controller - observes, decides, rates risk, writes field reports."""
