"""Did you mean …? Used wherever a person writes a name that we do not know: settings, commands, control requests."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], alike: float = 0.6) -> str:
    """The known word that is most like this one, or the only one that begins with it; empty when none is near.

    `alike` is how much of the two must be the same, from 0 to 1.
    """
    import difflib  # only a mistake pays for it

    words = list(known)
    if close := difflib.get_close_matches(word, words, n=1, cutoff=alike):
        return close[0]
    longer = [one for one in words if len(word) >= 3 and one.startswith(word)]
    return longer[0] if len(longer) == 1 else ""


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """A cure in words: the nearest known word, else `otherwise`, else all of them."""
    names = sorted(known)
    if near := nearest(word, names):
        return f"did you mean {near!r}?"
    return otherwise or "known are: " + ", ".join(names)
