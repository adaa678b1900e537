"""Decides, signs, appends and answers with a receipt: the one use case (architecture sections 1, 2).

``recording`` is its order, ``drafts`` makes the statements, ``submitted`` checks those that a hub signed itself, ``signing``
signs (``signing_batch`` a batch, ``signing_process`` in a process of its own), and ``mirroring`` tells the index afterwards.
"""

from ledger.recorder.drafts import Facts
from ledger.recorder.recording import Receipt, Recorder
from ledger.recorder.signing import HubSigner, Signer

__all__ = ["Facts", "HubSigner", "Receipt", "Recorder", "Signer"]
