"""The embedded default: a whole ledger in one directory, and what its commands do with it.

``directory`` makes and opens it, ``recording`` takes a revision to its receipt, ``reading`` answers from public
files and the index, ``auditing`` replays everything.
"""
