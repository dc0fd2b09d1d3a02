"""Why a URL was not fetched.

FetchError
├── ForbiddenAddress     it leads where none of ours may connect: nothing was connected
├── LinkDead             the source answered that it will not give it: a fresh link may work
├── Unwelcome            what it sends is not what may be sent: encoded, too large, not as promised
└── SourceUnreachable    no answer, or it broke off, or it dripped: try later
    ├── Changed          it cannot be gone on from where we were: another file, or no ranges
    └── DeadlinePassed   our own time is up
"""

from __future__ import annotations


class FetchError(Exception):
    """A URL was not fetched."""


class ForbiddenAddress(FetchError):
    """The URL, a redirect or the resolver leads to what is not a public https server."""


class LinkDead(FetchError):
    """The source answered, and will not give it."""


class Unwelcome(FetchError):
    """The source sends what we do not take."""


class SourceUnreachable(FetchError):
    """No answer, or not the whole of it, or too slowly."""


class Changed(SourceUnreachable):
    """The source does not give the rest of what we have."""


class DeadlinePassed(SourceUnreachable):
    """The caller's time is up; the source may be well."""
