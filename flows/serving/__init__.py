"""The HTTP server of `graft serve`: its endpoints, its numbers, its limits."""
