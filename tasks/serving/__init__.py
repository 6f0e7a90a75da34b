"""Registered models that answer many callers at once: what is held, what is asked, and the thread that computes."""
