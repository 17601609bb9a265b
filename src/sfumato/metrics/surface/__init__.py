"""Distances between surfaces, computed once and reduced many ways."""
