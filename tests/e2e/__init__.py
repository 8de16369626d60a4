"""Tests of the running app: a real server, a real browser. Nothing here imports the app's own code."""
