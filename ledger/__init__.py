"""hubledger: what is recorded, and everything needed to check it."""

__version__ = "0.1.0"
