"""What is slow to start is started once for each process that runs tests."""

import pytest

from tests.system import rekor_v1


@pytest.fixture(scope="session")
def rekor_v1_backend():
    """What rekor-servers of version 1 stand on: MariaDB, Trillian and Redis."""
    with rekor_v1.backend() as backend:
        yield backend
