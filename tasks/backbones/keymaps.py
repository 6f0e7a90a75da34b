"""Foreign names of weights turned into timm's, in the order of the blocks; loading is strict afterwards."""

import re
from collections.abc import Callable

from torch import Tensor, nn

from tasks.frozen import GraftError

State = dict[str, Tensor]

_OUTER = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
# EfficientNet-PyTorch's names inside a block; the first stage has no expansion and so other names in timm.
_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def efficientnet_pytorch(state: State, module: nn.Module) -> State:
    """EfficientNet-PyTorch's flat `_blocks.N.` to timm's `blocks.S.B.`, which hold the same blocks in one order."""
    names = [name for name, _ in module.named_modules() if re.fullmatch(r"blocks\.\d+\.\d+", name)]
    expanded = {int(key.split(".")[1]) for key in state if "_expand_conv" in key}

    def rename(key: str) -> str:
        if not key.startswith("_blocks."):
            outer, _, rest = key.partition(".")
            return f"{_OUTER.get(outer, outer)}.{rest}"
        _, number, inner, rest = key.split(".", 3)
        inside = _EXPANDED if int(number) in expanded else _PLAIN
        if int(number) >= len(names) or inner not in inside:
            raise GraftError(f"Weight {key!r} has no place in timm's {type(module).__name__}.")
        return f"{names[int(number)]}.{inside[inner]}.{rest}"

    return {rename(key): tensor for key, tensor in state.items()}


KEY_MAPS: dict[str, Callable[[State, nn.Module], State]] = {"efficientnet_pytorch": efficientnet_pytorch}
