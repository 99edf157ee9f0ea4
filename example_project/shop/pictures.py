"""Pictures of products, and files that are never half written, however often a job runs."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

PICTURES = Path(__file__).parent / "data" / "pictures"
THUMBNAIL_SIZE = (160, 160)  # at most, in pixels


def make_thumbnail(picture: str, target: Path) -> tuple[int, int]:
    """The size that the thumbnail has."""
    with Image.open(PICTURES / picture) as original:
        small = original.convert("RGB")
    small.thumbnail(THUMBNAIL_SIZE)
    with whole_file(target) as unfinished:
        small.save(unfinished, "JPEG", quality=85)
    return small.size


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A file to write to, which takes the target's place once the block is through."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(f".{uuid.uuid4().hex}")  # each attempt writes one of its own
    try:
        yield unfinished
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
