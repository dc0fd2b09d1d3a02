"""Mutation testing: small changes of our own source, generated from its syntax tree, each of
which a test must notice."""
