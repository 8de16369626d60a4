"""Measurements of the caches and of the app: `make bench`."""
