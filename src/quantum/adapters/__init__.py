"""One module per technology, each behind a port of `application/ports.py`. Siblings do not import each other."""
