"""Where rows come from. One file in `configs/datasets` is one of these."""

from typing import Annotated

from pydantic import Field

from tasks.datasets.glue import Glue
from tasks.datasets.hub_images import HubImages
from tasks.datasets.images import Digits, ImageFolder
from tasks.datasets.table import Table

Dataset = Annotated[Table | Glue | ImageFolder | HubImages | Digits, Field(discriminator="kind")]
