"""Which places of a picture made a model answer so."""

import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from captum.attr import LayerAttribution, LayerGradCam
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray
from torch import Tensor, nn

from tasks.backbones.image import ImageNetwork
from tasks.backbones.ways import Way
from tasks.explain.integrated import Integrated, Output, integrated, output_of
from tasks.explain.page import AGAINST, FOR, WHITE
from tasks.frozen import GraftError
from tasks.pictures import open_picture
from tasks.plots import panels
from tasks.saved import Model

SIDES = LinearSegmentedColormap.from_list("sides", [np.array(colour) / 255 for colour in (AGAINST, WHITE, FOR)])
COARSEST = 4  # fields a side: a coarser map does not say where


@dataclass(frozen=True)
class Looked:
    """What each place of a picture, as the network gets it, gave to an output's logit.

    Attributes:
        method: how the places were found.
        places: [H, W]; Grad-CAM's are 0 or more, of no unit; those of integrated gradients are logits of either sign.
        seen: [H, W, 3] in 0..1, the picture as the network gets it.
        logit: of the output.
        sums: of integrated gradients; Grad-CAM does not add up to anything.
    """

    output: Output
    method: Literal["Grad-CAM", "integrated gradients"]
    places: NDArray[Any]
    seen: NDArray[Any]
    logit: float
    sums: Integrated | None


def explain_picture(model: Model, content: bytes, label: str | None = None) -> Looked:
    """Find the places of a picture that speak for a label, or for the model's answer.

    Grad-CAM on the last maps of a convolutional trunk; integrated gradients on the pixels, from the mean colour of the
    weights' data, where there are none or they are coarser than 4 x 4 fields.
    Source: Selvaraju et al., Grad-CAM (2017), equations 1 and 2.

    Args:
        model: on CPU, in eval mode.
        content: of the picture's file.
        label: which logit; that of the model's answer if not given.

    Raises:
        GraftError: there is no such label, the picture cannot be read, or the attributions do not add up.
    """
    network = model.network
    if not isinstance(network, ImageNetwork):
        raise GraftError("This model takes texts. Give --text instead of --image.")
    way = network.way({"image": [content]})
    logits = way.logits(way.end).detach()
    output = output_of(model.target, logits, label)
    seen, logit, layer = network.seen(way.end).numpy(), float(logits[0, output.place]), network.last_maps()
    found = _grad_cam(layer, way, output.place) if layer else None
    if found is not None:
        return Looked(output, "Grad-CAM", found.numpy(), seen, logit, None)
    sums = integrated(way, output.place)
    return Looked(output, "integrated gradients", sums.values[0].sum(0).numpy(), seen, logit, sums)


def _grad_cam(layer: nn.Module, way: Way, output: int) -> Tensor | None:
    """[H, W] of the picture's size, or None if the layer's maps are too coarse."""
    pixels = way.end.clone().requires_grad_()  # of a frozen trunk no weight asks for gradients
    maps = LayerGradCam(way.logits, layer).attribute(pixels, target=output, relu_attributions=True)
    if min(maps.shape[2:]) < COARSEST:
        return None
    spread: Tensor = LayerAttribution.interpolate(maps.detach(), tuple(pixels.shape[2:]), "bilinear")
    return spread[0, 0]


def overlay(content: bytes, found: Looked) -> bytes:
    """A PNG: the picture as it is, and beside it the places on what the network gets of it."""
    drawn, (left, right) = panels(2)
    left.imshow(np.asarray(open_picture(content, 3)))
    left.set_title("the picture")
    right.imshow(0.5 + 0.5 * found.seen.mean(2), cmap="gray", vmin=0, vmax=1)
    top = float(np.abs(found.places).max()) or 1.0
    signed = found.sums is not None
    colours, least = (SIDES, -top) if signed else ("viridis", 0.0)
    shown = right.imshow(found.places, alpha=0.6, cmap=colours, vmin=least, vmax=top)
    right.set_title(f"what speaks for {found.output}", parse_math=False)  # a label may hold a dollar sign
    drawn.colorbar(shown, ax=right, label="logits" if signed else "Grad-CAM", shrink=0.8)
    for axes in (left, right):
        axes.axis("off")
    file = io.BytesIO()
    drawn.savefig(file, dpi=120)
    return file.getvalue()
