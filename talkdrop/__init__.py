"""Talkdrop's command line and Python client, on AWS and on the embedded run alike."""

from talkdrop.client import ApiError, Client, Damaged, Unreachable
from talkdrop.stack import NoStack

__all__ = ["ApiError", "Client", "Damaged", "NoStack", "Unreachable"]
