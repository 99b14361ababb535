"""Sessions as one would build them with pencil and paper: what the project's are held to."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

MINUTE = 60
DAY_SECONDS = 86_400


class Seen(NamedTuple):
    """An event as it is sent; `second` counts from the first midnight."""

    second: int
    user: str | None
    session: str | None
    item: str


def sessions_of(events: Sequence[Seen], gap_minutes: int) -> list[frozenset[int]]:
    """Return the sessions as the places of their events, the pause held against each event."""
    found: dict[Hashable, set[int]] = {}
    of_user: dict[str, list[tuple[int, int]]] = {}
    for at, event in enumerate(events):
        if event.session is not None:
            found.setdefault(("id", event.session), set()).add(at)
        elif event.user is None:
            found["alone", at] = {at}
        else:
            of_user.setdefault(event.user, []).append((event.second, at))
    for user, times in of_user.items():
        before, number = None, 0
        for second, at in sorted(times):
            if before is not None and second - before > gap_minutes * MINUTE:
                number += 1
            found.setdefault(("built", user, number), set()).add(at)
            before = second
    return sorted(map(frozenset, found.values()), key=min)


# Few moments, so that pauses are just the gap and one second more; around each midnight most.
_SECONDS = st.builds(
    lambda day, minute, second: day * DAY_SECONDS + minute * MINUTE + second,
    st.integers(0, 3),
    st.sampled_from([-31, -30, -15, -1, 0, 1, 15, 29, 30, 31, 700, 720]),
    st.integers(0, 1),
)


@st.composite
def seen_events(draw: Any, *, days: int) -> list[Seen]:
    """Draw events in the order in which they are sent, which is no order of time."""
    rows = draw(
        st.lists(
            st.tuples(
                _SECONDS.filter(lambda second: 0 <= second < days * DAY_SECONDS),
                st.sampled_from([None, "u1", "u2", "ü 3"]),
                st.sampled_from([None, None, None, "s1", "s2"]),
                st.sampled_from("abcdef"),
            ),
            max_size=30,
        )
    )
    return [Seen(*row) for row in rows]
