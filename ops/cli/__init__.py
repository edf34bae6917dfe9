"""The command line: how people run Esper and ask its log what happened."""
