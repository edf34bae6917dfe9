"""Leyline: the language - protobuf messages for every event, command and report."""
