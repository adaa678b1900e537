"""Publishes what a monitor found, as a folder that any web server or bucket can serve.

``layout`` says what lies where, ``source`` reads entries again and holds them against what was verified, ``rows`` says what
each says, ``store`` remembers what is published and what is due, ``proofs`` proves entries, ``packs`` are the files of proofs,
``covering`` does that for a log, ``ledgers`` for a ledger in Rekor, from its ``shards`` or by its ``receipts`` and in the order of its
``chains``, ``pages``, ``timeline``, ``names`` and ``listings`` show them to people, ``accounts`` says what is open, ``writing`` has
files put in their places (``placing``), many by a process of its own (``placing_process``), ``logs`` gathers of each log what is said
and signed (``covered``), ``publishing`` does it all in order.
"""
