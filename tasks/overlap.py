"""Whether a backbone's pretraining saw a data set, as far as their files say."""

from tasks.backbones import Backbone
from tasks.datasets.spec import DatasetSpec
from tasks.results import Overlap


def pretraining_overlap(backbone: Backbone, dataset: DatasetSpec, from_pretrained: bool = True) -> Overlap:
    """Compare the published collections that the weights were trained on with those that the rows come from.

    - "yes": they share one: the training rows, and perhaps the test rows, were in the pretraining, maybe with their
      labels. The score then shows that the machinery works, not that transfer does.
    - "no": both are known and share none, or nothing is pretrained. It says that no collection was used twice; it does
      not say that no picture was: collections gathered from the same sites can hold the same photograph, as the
      authors of CUB-200-2011 warn of theirs and ImageNet. Nor does it say that the classes are new to the weights:
      ImageNet has most of the dogs of Pets.
    - "unknown": the backbone's or the data set's file does not say.

    Nothing is inferred from names. A part names the wholes: Imagenette's file lists imagenette, imagenet-1k and
    imagenet-22k, and so meets weights trained on any of them.

    Args:
        backbone: its `pretrained_on` (None: not known), if it has pretrained weights.
        dataset: its `part_of` (None: not known).
        from_pretrained: whether the method starts from the weights (`method.pretrained`).
    """
    if not (backbone.pretrained and from_pretrained):
        return "no"
    if backbone.pretrained_on is None or dataset.part_of is None:
        return "unknown"
    return "yes" if set(backbone.pretrained_on) & set(dataset.part_of) else "no"
