"""Tokens as text while they are said: never half a character, never a part of what stops it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from tokenizers import Tokenizer

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


@dataclass
class Spelling:
    """The text of ids that come one by one, cut before the first of `stop`.

    What was given out and what `end` gives join to the text of all ids, without white space around it.
    """

    tokenizer: Tokenizer
    stop: Sequence[str] = ()
    stopped: bool = False
    _ids: list[int] = field(default_factory=list)
    _given: int = 0

    def say(self, token: int) -> str:
        """The text that one id more makes certain; after a stop, none."""
        self._ids.append(token)
        return self._text(self._ids[: self._whole()], False)

    def end(self) -> str:
        """What is left of the text."""
        return self._text(self._ids, True)

    def _whole(self) -> int:
        """How many ids no later one can change the text of: bytes in a row are read together."""
        n = len(self._ids)
        while n and self._open(self._ids[n - 1]):
            n -= 1
        return n

    def _open(self, token: int) -> bool:
        """A byte, or what the text leaves out."""
        piece = self.tokenizer.id_to_token(token)
        return piece is None or bool(_BYTE.fullmatch(piece)) or not self.tokenizer.decode([token])

    def _text(self, ids: Sequence[int], last: bool) -> str:
        if self.stopped:
            return ""
        text = self.tokenizer.decode(list(ids)).lstrip()
        if found := [at for s in self.stop if (at := text.find(s)) >= 0]:
            self.stopped, last = True, True
            text = text[: min(found)]
        sure = text[: len(text) if last else self._clear(text)].rstrip()
        fresh, self._given = sure[self._given :], len(sure)
        return fresh

    def _clear(self, text: str) -> int:
        """Where the longest beginning of a stop at the end of the text begins."""
        return min((k for k in range(len(text)) if any(s.startswith(text[k:]) for s in self.stop)), default=len(text))
