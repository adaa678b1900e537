"""What every ``ledger.log.Log`` keeps to: the suite that the local log and both Rekors run.

A log under test is opened by a context manager that yields (log, ``show``); ``show`` makes what was appended readable,
where that is a step of its own. ``raw`` turns an entry of ours into the leaf that this log keeps of it.
"""

import hashlib

from ledger.entry import format_entry, keyid_of, pae, parse_entry
from ledger.errors import LedgerError
from ledger.log import Committed, Submission
from ledger.tlog.merkle import leaf_hash, verify_consistency, verify_inclusion
from tests import reference
from tests.world import _ECDSA, p256_key, spki_of

KEY = p256_key("hub")
SPKI = spki_of(KEY)


def entry(number):
    """An entry of ours, signed by the hub of the tests."""
    payload = b'{"number":%d}' % number
    return format_entry(payload, keyid=keyid_of(SPKI), signature=KEY.sign(pae(payload), _ECDSA))


def submissions(start, end):
    return [Submission(entry=entry(number)) for number in range(start, end)]


class LogSuite:
    """Tests of the protocol; a subclass has the fixture ``opened``."""

    def leaf(self, data):
        """The leaf that this log keeps of an entry of ours."""
        return data

    def fill(self, opened, count):
        log, show = opened
        answers = log.append(submissions(0, count))
        show()
        return answers

    def test_each_entry_is_answered_by_its_own_place(self, opened):
        answers = self.fill(opened, 5)
        assert all(isinstance(each, Committed) for each in answers)
        assert sorted(each.leaf_index for each in answers) == list(range(5))
        leaves = list(opened[0].read(0, 5))
        for number, answer in enumerate(answers):
            assert leaves[answer.leaf_index] == self.leaf(entry(number))

    def test_the_checkpoint_is_of_what_can_be_read(self, opened):
        self.fill(opened, 7)
        tree = opened[0].checkpoint().checkpoint
        assert tree.size == 7
        assert reference.mth(list(opened[0].read(0, 7))) == tree.root_hash

    def test_a_part_of_the_log_is_that_part(self, opened):
        self.fill(opened, 6)
        log = opened[0]
        assert list(log.read(2, 5)) == list(log.read(0, 6))[2:5]
        assert list(log.read(3, 3)) == []

    def test_every_leaf_is_proven_in_the_newest_tree(self, opened):
        self.fill(opened, 6)
        log = opened[0]
        tree = log.checkpoint().checkpoint
        for index, data in enumerate(log.read(0, 6)):
            verify_inclusion(
                leaf_hash(data),
                index=index,
                size=tree.size,
                root=tree.root_hash,
                proof=log.prove_inclusion(index, tree.size),
            )

    def test_growth_is_proven_from_every_earlier_size(self, opened):
        self.fill(opened, 7)
        log = opened[0]
        tree, leaves = log.checkpoint().checkpoint, list(log.read(0, 7))
        for old in range(1, 8):
            verify_consistency(
                old_size=old,
                old_root=reference.mth(leaves[:old]),
                new_size=tree.size,
                new_root=tree.root_hash,
                proof=log.prove_consistency(old, tree.size),
            )

    def test_one_bad_entry_refuses_itself_alone(self, opened):
        log, show = opened
        good, bad = Submission(entry=entry(0)), Submission(entry=self.refused())
        answers = log.append([good, bad, Submission(entry=entry(1))])
        show()
        assert [isinstance(each, LedgerError) for each in answers] == [False, True, False]
        assert log.checkpoint().checkpoint.size == 2

    def refused(self):
        """Bytes that this log refuses as an entry."""
        return b"x" * 65_536


def envelope_digest(data):
    """SHA-256 of what the entry's signature is over."""
    return hashlib.sha256(pae(parse_entry(data).payload)).digest()
