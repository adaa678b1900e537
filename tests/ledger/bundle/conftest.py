"""What the tests of signatures share: samples of others, and a model with a key of its own."""

import pathlib
import shutil

import pytest

from ledger.bundle.trust_material import TrustMaterial
from ledger.verification import verify_revision
from tests import oms


@pytest.fixture(scope="session")
def samples(vectors):
    return vectors / "samples"


@pytest.fixture(scope="session")
def sample_trust(samples):
    """Everything that the samples were made with, and the synthetic Sigstore instance."""
    keys, released = samples / "oms/keys", samples / "oms-released/keys"
    pem = [path.read_bytes() for path in (*sorted(keys.glob("*.pub")), released / "signing-key-pub.pem")]
    return TrustMaterial(
        public_keys=pem,
        anchors=[(keys / "root-cert.pem").read_bytes(), (released / "ca-cert.pem").read_bytes()],
        sigstore_json=(samples / "oms/fake-sigstore/trust_config.json").read_bytes(),
    )


@pytest.fixture
def tiny(samples, tmp_path):
    """The samples' model, to which a bundle can be added."""
    return pathlib.Path(shutil.copytree(samples / "oms/tiny-model", tmp_path / "tiny-model"))


@pytest.fixture(scope="session")
def key():
    return oms.new_key()


@pytest.fixture
def model(tmp_path):
    return oms.write_model(tmp_path / "model")


@pytest.fixture
def judge(model, key):
    """Put one bundle beside the model and return (outcome, reasons); the session's key is registered."""

    def call(bundle, **trust):
        oms.put(model, bundle)
        material = TrustMaterial(**{"public_keys": [oms.public_pem(key)], **trust})
        found = verify_revision(model, trust=material, received=oms.NOON)
        return found.outcome, found.reasons

    return call
