"""Use cases over the domain, and the ports (`ports.py`) through which they reach the world."""
