"""What was added is never called new, and of what was not, nearly everything is."""

from hypothesis import given
from hypothesis import strategies as st

from monitor.seen import Seen


@given(added=st.sets(st.binary(max_size=20) | st.text(max_size=20)))
def test_what_was_added_is_never_called_new(added):
    seen = Seen()
    seen.add(added)
    assert seen.among(list(added)) == list(added)


def test_hardly_anything_else_is_looked_for():
    seen = Seen()
    seen.add(at.to_bytes(16, "big") for at in range(100_000))
    others = [at.to_bytes(16, "big") for at in range(100_000, 200_000)]
    assert len(seen.among(others)) < 100
