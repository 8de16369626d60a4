"""Tests of the pages: what a visitor does and sees, without a browser."""
