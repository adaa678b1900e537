"""Small words of the sentences that people are shown."""


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return ``1 event``, ``2 events``; ``many`` where an s does not make it one."""
    return f"{count} {one if count == 1 else many or one + 's'}"
