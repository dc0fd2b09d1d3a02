"""The Lambda bundle: one package, shipped whole to every function. Verbs run, nouns are imported."""
