"""The Litestar app: the only place that knows HTTP."""
