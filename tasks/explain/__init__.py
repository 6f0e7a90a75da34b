"""Why a model answers so: words, pictures, and the rows on which it is wrong."""
