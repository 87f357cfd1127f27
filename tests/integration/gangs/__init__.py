"""Gangs of ranks on a lab of a test run, by the command line."""
