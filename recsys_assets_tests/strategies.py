"""Hypothesis strategies of canonical events."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from recsys_assets_tests.frames import Event

# Few ids on purpose: collisions, ties and repeats are where the bugs are. The odd ones sort
# differently by UTF-16, by locale and by case than by UTF-8 bytes.
_ITEMS = st.sampled_from(["a", "b", "c", "Z", "é", "\uffee", "😀"])
_SESSIONS = st.sampled_from(["s1", "s2", "s3", "S4", "ß"])
_USERS = st.sampled_from([None, "u1", "u2", "U3", "ü"])

# Any text that JSON in UTF-8 can hold, half surrogates excepted.
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@st.composite
def events(draw: Any, max_size: int = 40) -> list[Event]:
    """Draw events in source order: few seconds, so that `ts` are equal, and up to three files."""
    rows = draw(
        st.lists(
            st.tuples(_USERS, _SESSIONS, _ITEMS, st.integers(0, 3), st.integers(0, 2)),
            max_size=max_size,
        )
    )
    next_line = dict.fromkeys(range(3), 1)
    placed = []
    for user, session, item, second, file in rows:
        placed.append(Event(user, session, item, second, file, next_line[file]))
        next_line[file] += draw(st.integers(1, 2))
    return sorted(placed, key=lambda event: (event.file, event.line))


@st.composite
def shuffled_events(draw: Any) -> tuple[list[Event], list[Event]]:
    """Draw events and the same events in another row order."""
    ordered = draw(events())
    return ordered, draw(st.permutations(ordered))
