"""Caches on servers that are killed, hang, refuse, are full, damaged or away."""
