"""The HTTP service over a bridge."""
