"""What a run will take: a training tried out, measured, and reckoned up to the whole."""
