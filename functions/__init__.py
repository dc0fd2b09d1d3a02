"""The Lambda bundle: one package, shipped whole to every function. Verbs run, nouns are
imported."""

import warnings

# Powertools warns of every invocation that counted nothing; most of ours rightly count nothing.
warnings.filterwarnings("ignore", message="No application metrics to publish")


class TalkdropError(Exception):
    """The root of our own exceptions. Each below it is named after what the caller must do."""
