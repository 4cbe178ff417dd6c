"""Quantum: a self-hosted AI monitoring platform."""
