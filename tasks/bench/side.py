"""One side of one turn in its own process: `python -m tasks.bench.side`, the order as JSON on stdin."""

import sys

import numpy as np
from numpy.typing import NDArray

from tasks.bench.orders import ANSWERS, TAKEN, Order, Taken
from tasks.frozen import GraftError


def run(order: Order) -> tuple[Taken, NDArray[np.float32] | None]:
    """Do it. No side imports what it does not need: its memory is its own.

    Returns:
        what it took, and [N, K] logits (where nothing trained, probabilities) of all test rows in their order; None
        where it did not train on all rows.
    """
    if order.by == "graft":
        from tasks.bench import own

        return own.predict(order) if order.kind == "predict" else own.train(order)
    if order.by == "timm":
        from tasks.bench import timm_style

        return timm_style.probe(order) if order.kind == "probe" else timm_style.train(order)
    from tasks.bench import trainer

    return trainer.predict(order) if order.kind == "predict" else trainer.train(order)


def main() -> None:
    """Read the order, do it, and write both answers to its folder; a GraftError is the last line of stderr."""
    order = Order.model_validate_json(sys.stdin.read())
    try:
        taken, answers = run(order)
    except GraftError as error:
        sys.exit(str(error))
    if answers is not None:
        np.save(order.out / ANSWERS, answers)
    (order.out / TAKEN).write_text(taken.model_dump_json())


if __name__ == "__main__":
    main()
