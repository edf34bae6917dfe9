"""Kasmina: the growth sites of a host model and every seed that lives in one."""
