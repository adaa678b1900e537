"""All models by name: every name is found from the first page on, no page is long, and few change with a new name."""

import random

import pytest

from monitor.publish import names
from monitor.publish.names import name_pages


class Names:
    """Sorted names, as the store gives them."""

    def __init__(self, known=()):
        self.known = sorted(known)

    def names(self, _log, low, high, *, limit):
        return [each for each in self.known if low <= each < high][:limit]

    def last_name(self, _log, low, high):
        return max(each for each in self.known if low <= each < high)


class Site:
    def __init__(self):
        self.store, self.pages = Names(), {}

    def add(self, new):
        self.store.known = sorted({*self.store.known, *new})
        changed = {}
        for page in name_pages(self.store, "models", sorted(new), exists=lambda each: each in self.pages):
            assert all(each in self.pages or each in changed for each in page.longer), (
                "it leads to one that is not there"
            )
            changed[page.prefix] = page
        self.pages |= changed
        return changed

    def reachable(self, prefix=""):
        page = self.pages[prefix]
        yield from page.names
        for longer in page.longer:
            assert len(longer) > len(prefix)
            yield from self.reachable(longer)


def some_names(chance, count):
    owners = [f"org-{at}" for at in range(7)] + ["ACME", "acme", "~", "!", "n" * 200]
    return {
        f"{chance.choice(owners)}/{'x' * chance.randint(0, 5)}{chance.randint(0, 99_999)}"
        for _ in range(count)
    }


@pytest.mark.parametrize("seed", range(6))
def test_every_name_is_reachable_after_every_step(seed, monkeypatch):
    monkeypatch.setattr(names, "MAX_NAMES", 9)
    chance, site = random.Random(seed), Site()
    for count in (1, 3, 8, 40, 1, 200, 5, 1):
        site.add(some_names(chance, count))
        assert list(site.reachable()) == site.store.known
        assert all(len(each.names) <= 9 for each in site.pages.values())


def test_a_name_that_is_the_beginning_of_others_is_reachable(monkeypatch):
    monkeypatch.setattr(names, "MAX_NAMES", 2)
    site = Site()
    site.add({"a"})
    site.add({"a" * length for length in range(1, 9)})
    assert list(site.reachable()) == sorted("a" * length for length in range(1, 9))


def test_a_new_name_changes_only_the_pages_on_the_way_to_it(monkeypatch):
    monkeypatch.setattr(names, "MAX_NAMES", 9)
    site = Site()
    site.add(some_names(random.Random(1), 500))
    changed = site.add({"org-3/new"})
    assert len(site.pages) > 50
    assert len(changed) < 8
    assert all("org-3/new".startswith(each) for each in changed)


def test_there_is_a_first_page_before_there_is_a_name():
    assert Site().add(set())[""].names == ()
