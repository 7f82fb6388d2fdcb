"""Download the images that an item names: turned into JPEG, small ones refused, with thumbnails."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import Any

from ...core.errors import ConfigError
from ..exceptions import DownloadError
from ..request import Request
from ..response import Response
from .files import FilesPipeline, FileStore


class ImagesPipeline(FilesPipeline):
    """Downloads the URLs in `image_urls` into IMAGES_STORE, by IMAGES_THUMBS and IMAGES_MIN_…."""

    prefix = "IMAGES"
    urls_field = "image_urls"
    result_field = "images"

    def __init__(self, store: FileStore, settings: Any, crawler: Any) -> None:
        super().__init__(store, settings, crawler)
        try:
            from PIL import Image, ImageOps  # noqa: PLC0415 - optional
        except ImportError:
            raise ConfigError("ImagesPipeline needs Pillow: pip install pillow") from None
        self._pillow, self._ops = Image, ImageOps
        self.min_width = settings.getint("IMAGES_MIN_WIDTH", 0)
        self.min_height = settings.getint("IMAGES_MIN_HEIGHT", 0)
        self.thumbs: dict[str, tuple[int, int]] = settings.getdict("IMAGES_THUMBS")

    def file_path(self, request: Request, response: Any = None, info: Any = None, *, item: Any = None) -> str:
        """Give the path of an image within the store: by default full/<SHA-1 of the URL>.jpg."""
        return f"full/{_name(request)}.jpg"

    def thumb_path(
        self, request: Request, thumb_id: str, response: Any = None, info: Any = None, *, item: Any = None
    ) -> str:
        """Give the path of a thumbnail: by default thumbs/<its name in IMAGES_THUMBS>/<SHA-1 of the URL>.jpg."""
        return f"thumbs/{thumb_id}/{_name(request)}.jpg"

    def media_downloaded(self, response: Response, request: Request, info: Any = None, *, item: Any = None) -> str:
        """Store an image and its thumbnails; give the checksum of the image. Raises DownloadError for what is none."""
        checksum = ""
        for path, data in self.get_images(response, request, info, item=item):
            self.store.persist(path, data)
            checksum = checksum or hashlib.md5(data, usedforsecurity=False).hexdigest()
        return checksum

    def get_images(
        self, response: Response, request: Request, info: Any = None, *, item: Any = None
    ) -> Iterator[tuple[str, bytes]]:
        """Give the path and the bytes of an image, then those of its thumbnails."""
        try:
            image = self._ops.exif_transpose(self._pillow.open(io.BytesIO(response.body)))
            image.load()
        except (OSError, ValueError, SyntaxError, self._pillow.DecompressionBombError) as error:
            raise DownloadError(f"it is no image: {error}") from None
        if image.width < self.min_width or image.height < self.min_height:
            least = f"{self.min_width}x{self.min_height}"
            raise DownloadError(f"the image is too small: {image.width}x{image.height}; at least {least} are wanted")
        yield self.file_path(request, response, info, item=item), self._jpeg(image, None)
        for name, size in self.thumbs.items():
            yield self.thumb_path(request, name, response, info, item=item), self._jpeg(image, tuple(size))

    def _jpeg(self, image: Any, size: tuple[int, ...] | None) -> bytes:
        if image.mode in {"P", "RGBA", "LA"}:  # what is transparent becomes white
            image = image.convert("RGBA")
            ground = self._pillow.new("RGBA", image.size, (255, 255, 255))
            ground.paste(image, image)
            image = ground
        image = image.convert("RGB")
        if size is not None:
            image.thumbnail(size)
        out = io.BytesIO()
        image.save(out, "JPEG")
        return out.getvalue()


def _name(request: Request) -> str:
    return hashlib.sha1(request.url.encode(), usedforsecurity=False).hexdigest()
