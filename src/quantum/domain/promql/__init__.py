"""PromQL over arrays: plans, and their evaluation at every step of a query at once."""
