"""Trains the small model in the box: renders its pictures, trains its three networks, judges the result."""
