"""The two planes on the two sides of the spool: one runs workers, the other does all with what they leave behind."""

from __future__ import annotations
