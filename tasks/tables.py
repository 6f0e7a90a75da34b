"""Tables of strings: read strictly, their columns renamed to Graft's own."""

import csv
import warnings
from pathlib import Path

import pandas as pd

from tasks.frozen import Frozen, GraftError

LABEL, ROW = "label", "row_id"


class Columns(Frozen):
    """The names that the inputs and the label have in a table."""

    text: str
    text_pair: str | None = None
    label: str = LABEL

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the input columns that these give."""
        return ("text", "text_pair") if self.text_pair else ("text",)

    def pick(self, table: pd.DataFrame, origin: str, split: str) -> pd.DataFrame:
        """Rename to Graft's own columns; row ids are `split:line`, counted from 1 below the header."""
        wanted = {given: own for own, given in self.model_dump(exclude_none=True).items()}
        missing = [name for name in wanted if name not in table.columns]
        if missing:
            raise GraftError(
                f"{origin} has no column {missing[0]!r}. It has: {', '.join(map(str, table.columns))}. "
                "Set `columns:` in the data set's file."
            )
        rows = table[list(wanted)].rename(columns=wanted).map(lambda cell: "" if pd.isna(cell) else str(cell).strip())
        rows.insert(0, ROW, [f"{split}:{line}" for line in range(1, len(rows) + 1)])
        return rows


def read_table(path: Path) -> pd.DataFrame:
    """A CSV, or a TSV in which quotes are plain characters (as GLUE's are); every cell a string."""
    separator, quoting = ("\t", csv.QUOTE_NONE) if path.suffix == ".tsv" else (",", csv.QUOTE_MINIMAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header would lose cells
            return pd.read_csv(path, sep=separator, quoting=quoting, dtype=str, keep_default_na=False, index_col=False)
    except FileNotFoundError as error:
        raise GraftError(f"{path} does not exist. Relative data paths start at GRAFT_DATA.") from error
    except pd.errors.ParserWarning as error:
        raise GraftError(f"{path} cannot be read as a table: its rows have more cells than its header.") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).strip()
        raise GraftError(f"{path} cannot be read as a table: {reason}.") from error
