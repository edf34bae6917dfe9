"""Simic: the coach - trains Tamiyo's policy from field reports, offline."""
