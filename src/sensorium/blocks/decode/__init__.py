"""One decoder, what it remembers, and the ways to make it speak."""

from .cache import Cache, Tap
from .decoder import Decoder
from .diffuse import Canvas, denoise, paint
from .generate import Generates, Prompt, at_least, decode, greedy, no_repeat, repetition, sample, steps, trie

__all__ = [
    "Cache",
    "Canvas",
    "Decoder",
    "Generates",
    "Prompt",
    "Tap",
    "at_least",
    "decode",
    "denoise",
    "greedy",
    "no_repeat",
    "paint",
    "repetition",
    "sample",
    "steps",
    "trie",
]
