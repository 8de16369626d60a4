"""Real servers for the tests: each starts on a free port of this machine, in a temporary folder, and can be killed."""
