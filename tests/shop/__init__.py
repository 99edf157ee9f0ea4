"""A small app that the tests enqueue from."""
