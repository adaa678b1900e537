"""The process that signs digests for a recorder: a script, which ``signing_process`` starts by its path.

It imports none of our modules, and of others ``cryptography`` alone: it is memory beside a service that has a limit.
``signing_process`` says what goes over the socket.
"""

import signal
import socket
import sys

DIGEST_BYTES = 32
MAX_SIGNATURE_BYTES = 72
"""An ASN.1 DER ECDSA signature over P-256. Before each is its length, in one byte; behind a shorter one are zeros."""
SLOT_BYTES = 1 + MAX_SIGNATURE_BYTES
COUNT_BYTES = 2


def read_exactly(stream: socket.socket, count: int) -> bytes:
    """Read so many bytes. Raises EOFError: the other side is gone."""
    parts = bytearray()
    while len(parts) < count:
        part = stream.recv(count - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def work(fd: int) -> None:
    """Be given a private key, say that we are there, then sign each run of digests that comes, until nobody asks any more."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    algorithm = ec.ECDSA(Prehashed(hashes.SHA256()), deterministic_signing=True)
    with socket.socket(fileno=fd) as asked:
        length = int.from_bytes(read_exactly(asked, COUNT_BYTES))
        key = load_der_private_key(read_exactly(asked, length), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            return
        asked.sendall(b"\x01")
        while True:
            count = int.from_bytes(read_exactly(asked, COUNT_BYTES))
            digests = read_exactly(asked, count * DIGEST_BYTES)
            slots = []
            for at in range(0, len(digests), DIGEST_BYTES):
                signature = key.sign(digests[at : at + DIGEST_BYTES], algorithm)
                slots.append((bytes((len(signature),)) + signature).ljust(SLOT_BYTES, b"\0"))
            asked.sendall(b"".join(slots))


def main() -> None:
    """Run with the socket's number and then the folders of modules as arguments. Whoever asks decides when it is over."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    sys.path[:] = sys.argv[2:]
    try:
        work(int(sys.argv[1]))
    except (EOFError, OSError):
        return


if __name__ == "__main__":
    main()
