"""Plain data and pure functions that every other wing shares. No I/O, no foreign library but msgspec."""
