"""Talkdrop's command line and Python client, on AWS and on the embedded run alike."""

from talkdrop.client import Client, Damaged
from talkdrop.stack import NoStack
from talkdrop.wire import ApiError, Unreachable

__all__ = ["ApiError", "Client", "Damaged", "NoStack", "Unreachable"]
