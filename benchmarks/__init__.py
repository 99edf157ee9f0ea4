"""Soniq beside its peers and beside the least that a database queue has to do. See README.md here."""
