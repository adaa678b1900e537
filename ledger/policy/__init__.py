"""Policies: pure functions from an event and the state of its histories to a decision."""
