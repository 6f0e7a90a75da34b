"""What every config and error of Graft is made of: a frozen model, and an error that teaches."""

from pydantic import BaseModel, ConfigDict


class GraftError(Exception):
    """Something that the user gave, or the machine has, cannot be used; nothing was lost.

    The message says in one line what was given, what is valid, and what to do next. The command line
    prints it without a traceback and exits with code 2.
    """


class Frozen(BaseModel):
    """A value read from a config file: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
