"""Other people's scores on GLUE's dev sets, to hold ours against. They had settings and seeds of their own."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from tasks.frozen import Frozen

MARK = "other people's, dev set, their settings"


class Published(Frozen):
    """A published row: 0 to 100 by task and metric, as its authors gave them; a task that they left out is not here."""

    name: str
    source: str
    scores: Mapping[str, Mapping[str, float]]

    def score(self, task: str) -> float | None:
        """The mean of what was published for a task, 0 to 100."""
        return fmean(self.scores[task].values()) if task in self.scores else None

    def average(self, tasks: Sequence[str]) -> float | None:
        """The macro average over the tasks, 0 to 100, or None where one of them was not published."""
        scores = [score for task in tasks if (score := self.score(task)) is not None]
        return fmean(scores) if tasks and len(scores) == len(tasks) else None


PUBLISHED = (
    Published(
        name="RoBERTa-base, LoRA r8",
        source="Hu et al., LoRA (2021); MRPC, RTE and STS-B start from the MNLI adapter",
        scores={
            "cola": {"matthews": 63.4}, "sst2": {"accuracy": 95.1}, "mrpc": {"accuracy": 89.7},
            "stsb": {"pearson": 91.5}, "qqp": {"accuracy": 90.8}, "mnli": {"accuracy": 87.5},
            "qnli": {"accuracy": 93.3}, "rte": {"accuracy": 86.6},
        },
    ),
    Published(
        name="BERT-base, full",
        source="README of the text classification examples of Hugging Face's transformers",
        scores={
            "cola": {"matthews": 56.5}, "sst2": {"accuracy": 92.3}, "mrpc": {"f1": 88.9}, "rte": {"accuracy": 65.7},
        },
    ),
    Published(
        name="MiniLM-L6-H384, full",
        source="README of MiniLM in microsoft/unilm; MNLI matched only",
        scores={
            "cola": {"matthews": 47.5}, "sst2": {"accuracy": 91.5}, "mnli": {"accuracy": 83.3},
            "qnli": {"accuracy": 90.5},
        },
    ),
)  # fmt: skip
