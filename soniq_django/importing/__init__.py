"""Moves what waits in the tables of another queue into soniq's, each row exactly once.

A batch is read with its rows locked, its jobs are stored and the rows are taken out, all in one transaction.
So a crash moves a batch or leaves it, a second run finds only what was left, and a worker of the other queue
that still runs cannot take a row that is on its way. Rows that cannot be moved stay as they are and are told,
each with why.
"""
