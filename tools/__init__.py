"""What a checkout needs besides the program: getting ready, and building the dashboard. Standard library only."""
