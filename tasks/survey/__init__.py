"""What the user's own files seem to hold: columns and their roles, classes, and what stands between the cells."""
