"""The observability stack without Docker: the real programs, built from the Go module proxy, run with the files of collector/."""
