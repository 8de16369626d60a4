"""Tests of `cache_backends.servers`, beside the shared suite that every backend passes."""
