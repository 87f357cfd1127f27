"""Measurements of a server over HTTP, and what is made of their results."""
