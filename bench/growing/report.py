"""The tables of the growth bench."""


def report(rows, tasks):
    return ""
