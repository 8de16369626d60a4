"""The tests of `lab`, one file a module."""
