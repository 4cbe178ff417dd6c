"""Adapters to Redis. Importing the driver takes half a second, so only who is given a Redis imports them."""
