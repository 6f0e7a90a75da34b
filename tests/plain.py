"""Whether a kept file is plain data, by its content: what runs code when it is opened is none.

No fixtures; its assertions name the file.
"""

import json
import os
import pickletools
import struct
from pathlib import Path

import yaml

TEXTS = {".jinja", ".md", ".py", ".txt"}
YAML = {"", ".yaml"}  # "": MLmodel and registered_model_meta


def check_plain(file: Path) -> None:
    """Safetensors, JSON, YAML or a text, whole and readable as such; no archive, no pickle of any protocol."""
    content = file.read_bytes()
    assert not content.startswith(b"PK"), f"{file} is an archive, as torch.save makes it"
    assert not _pickled(content), f"{file} is a pickle"
    if file.suffix == ".safetensors":
        header = struct.unpack("<Q", content[:8])[0]
        told = json.loads(content[8 : 8 + header])
        ends = [own["data_offsets"][1] for name, own in told.items() if name != "__metadata__"]
        assert max(ends, default=0) == len(content) - 8 - header, f"{file} holds more than tensors"
    elif file.suffix == ".json":
        json.loads(content)
    elif file.suffix in YAML:
        assert isinstance(yaml.safe_load(content), dict), file
    else:
        assert file.suffix in TEXTS, f"{file} is of no known form"
        assert "\0" not in content.decode("utf-8"), file


def _pickled(content: bytes) -> bool:
    if content[:1] == b"\x80":  # protocols 2 and later; pickletools would read all of a cut one
        return True
    try:
        with open(os.devnull, "w") as nowhere:
            pickletools.dis(content[:100_000], out=nowhere)
    except (ValueError, UnicodeDecodeError, IndexError):
        return False
    return True
