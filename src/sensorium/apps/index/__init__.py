"""A collection of pictures, embedded once by one run: add, delete, search in words, by a picture, filtered."""

from .collection import Added, Collection, build, open_index
from .query import Found
from .record import is_index

__all__ = ["Added", "Collection", "Found", "build", "is_index", "open_index"]
