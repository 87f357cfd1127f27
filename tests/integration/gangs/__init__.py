"""Gangs of ranks on the one lab of a test run, by the command line."""
