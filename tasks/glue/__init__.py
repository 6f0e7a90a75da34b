"""GLUE beyond its data: the suite and its table, other people's scores, and the leaderboard's zip."""
