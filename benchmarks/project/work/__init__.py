"""The work to be done, and how each peer is told of it: one module per peer, named ``<peer>_jobs``."""
