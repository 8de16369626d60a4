"""Tests of `ui`: languages, numbers, words, safe text, colours, charts."""
