"""hubledger: what is recorded, and everything needed to check it.

The map, from the bottom up; each layer sees only those below it:

    errors, encoding         one class a refusal; strict decimal, base64, hex and canonical JSON
    tlog                     Merkle trees, tiles, notes, checkpoints, cosignatures, proofs: pure
    identity, manifest       who signed, and which files
    event, entry, history    statements, log entries, chains and pins: pure
    policy                   decides about an event against its histories: pure
    storage                  directories, SQLite, evidence
    log                      the log that we write, any log that we read, replaying one
    bundle, verification     what a signature bundle says, and whether it holds for a revision
    index, digests, recorder the mirrors per model and per digest; deciding, signing, appending in one place
    client                   checks a proof offline, against a trust file
    config, embedded         a ledger in one directory

The formats are in docs/spec, the reasons in docs/decisions.
"""

__version__ = "0.1.0"
