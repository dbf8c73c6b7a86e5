"""Text out of tokens, one token at a time: no half characters, nothing that may still become a stop string.

Tokens of a byte-level vocabulary can end inside a character, and some tokenizers write a space only between two tokens.
So each new token is decoded together with the few before it, and shown only when the result ends in whole characters.
"""

from collections.abc import Callable, Sequence

CONTEXT_TOKENS = 6  # of the prompt: the first token's leading space depends on what stands before it
BROKEN = "\ufffd"


class GrowingText:
    """decode: tokens to text, special tokens left out."""

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        prompt: Sequence[int],
        stops: Sequence[str] = (),
        keep_stop: bool = False,
    ) -> None:
        self._decode = decode
        self._stops = stops
        self._longest_stop = max((len(stop) for stop in stops), default=0)
        self._keep_stop = keep_stop
        self._tokens = list(prompt[-CONTEXT_TOKENS:])
        self._shown_from = 0  # decoding starts here ...
        self._shown_to = len(self._tokens)  # ... and what stands before this is already in the text
        self._text = ""
        self._released = 0

    def push(self, token: int) -> tuple[str, str | None]:
        """(what can be shown now, the stop string that was completed)."""
        piece = self._piece(token)
        if not self._stops:
            return piece, None
        before = len(self._text)
        self._text += piece
        found = self._stop_since(max(0, before - self._longest_stop + 1))
        if found is not None:
            at, stop = found
            return self._release(at + len(stop) if self._keep_stop else at), stop
        return self._release(len(self._text) - self._held()), None

    def finish(self) -> str:
        """What was held back for a stop string that did not come. Half a character stays unsaid."""
        return self._release(len(self._text))

    def _piece(self, token: int) -> str:
        self._tokens.append(token)
        before = self._decode(self._tokens[self._shown_from : self._shown_to])
        now = self._decode(self._tokens[self._shown_from :])
        if len(now) <= len(before) or now.endswith(BROKEN):
            return ""
        self._shown_from, self._shown_to = self._shown_to, len(self._tokens)
        return now[len(before) :]

    def _stop_since(self, start: int) -> tuple[int, str] | None:
        """The stop string that begins first; of two that begin together, the one given first."""
        found = [(at, n) for n, stop in enumerate(self._stops) if (at := self._text.find(stop, start)) >= 0]
        if not found:
            return None
        at, n = min(found)
        return at, self._stops[n]

    def _held(self) -> int:
        """Length of the longest end of the text that a stop string begins with."""
        for length in range(min(self._longest_stop - 1, len(self._text)), 0, -1):
            tail = self._text[-length:]
            if any(len(stop) > length and stop.startswith(tail) for stop in self._stops):
                return length
        return 0

    def _release(self, end: int) -> str:
        shown = self._text[self._released : end]
        self._released = max(self._released, end)
        return shown
