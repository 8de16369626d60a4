"""Tests: the folders mirror the source tree; `e2e` drives the running app in a real browser."""
