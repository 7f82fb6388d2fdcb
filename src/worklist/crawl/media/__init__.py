"""Pipelines that download what an item names: files, and images with thumbnails."""

from .files import FilesPipeline, FileStore
from .images import ImagesPipeline

__all__ = ["FileStore", "FilesPipeline", "ImagesPipeline"]
