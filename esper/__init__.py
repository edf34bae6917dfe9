"""Esper: neural networks that grow while they train, with every change recorded as an event."""
