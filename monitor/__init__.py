"""Watches logs for somebody who does not trust whoever runs them: replays, notices, remembers, tells.

``findings`` are the values, ``detect`` decides what is one, ``follow`` replays a log, ``judge`` holds checkpoints against
each other, ``state`` remembers, ``sinks`` and ``deliver`` tell people, ``config`` are the settings, ``daemon`` runs it all.
"""
