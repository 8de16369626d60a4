"""Tests of `cache_backends`: one shared suite over every backend, and what each part promises by itself."""
