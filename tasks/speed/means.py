"""The means by their names, and which of them are wanted."""

from tasks import runtime
from tasks.frozen import GraftError

MEANS = (
    "kept_heap",  # memory that was freed stays with the process, and need not be cleared by the system again
    "first_token",  # the last block of a BERT-like encoder for the first token alone
    "channels_last",  # pictures in memory with a place's channels side by side
    "lora_linear",  # a linear map, or a convolution of one pixel, with its adapter as one step
    "folded",  # frozen batch norms are worked into the convolutions before them
    "merged",  # adapters are worked into their layers while many rows are answered
    "few_words",  # of a table of words that trains, a step works on the rows that the training rows use
    "frozen_front",  # what lies before the first weight that trains runs once for each row
)


def wanted() -> tuple[str, ...]:
    """The means that `GRAFT_MEANS` allows.

    Raises:
        GraftError: it names one that is not known.
    """
    told = runtime.means()
    named = {"all": MEANS, "none": ()}.get(told, tuple(told.split(",")))
    if odd := [name for name in named if name not in MEANS]:
        raise GraftError(f"GRAFT_MEANS names {odd[0]!r}. Valid: all, none, or some of {', '.join(MEANS)} with commas.")
    return named
