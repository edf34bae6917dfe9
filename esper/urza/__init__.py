"""Urza: the library - which kernels exist, verified, versioned, served."""
