from __future__ import annotations

import re
from collections import Counter
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.compute.content_sim import normalise_tags, repeated_items
from recsys_assets.contracts import ARTIFACTS

# White space by Unicode's White_Space property, written out: Python's str.strip() removes more.
_WHITE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u2028\u2029\u202f\u205f\u3000"
)


class Row(NamedTuple):
    """One catalog row."""

    item_id: str | None
    tags: list[str | None] | None
    namespace: str | None = ""


def run(*rows: Row, surface: str = "home", max_items: int = 100) -> list[tuple[Any, ...]]:
    return frame(*rows, surface=surface, max_items=max_items).rows()


def frame(*rows: Row, surface: str = "home", max_items: int = 100) -> pl.DataFrame:
    return normalise_tags(catalog(*rows), surface=surface, max_items=max_items).collect()


def catalog(*rows: Row) -> pl.LazyFrame:
    return pl.LazyFrame(
        list(rows),
        schema={"item_id": pl.String, "tags": pl.List(pl.String), "namespace": pl.String},
        orient="row",
    )


@pytest.mark.parametrize("separator", [",", ";", "|"])
def test_tags_are_split_on_each_separator(separator: str) -> None:
    assert run(Row("i", [f"a{separator}b"])) == [("i", ["a", "b"])]


@pytest.mark.parametrize("other", [" ", "/", "\t", ":", "\\"])
def test_tags_are_split_on_nothing_else(other: str) -> None:
    assert run(Row("i", [f"a{other}b"])) == [("i", [f"a{other}b"])]


def test_separators_may_be_mixed_and_repeated() -> None:
    assert run(Row("i", [",a;;b|,c;"])) == [("i", ["a", "b", "c"])]


def test_the_tags_of_a_list_are_split_as_well() -> None:
    assert run(Row("i", ["a,b", "c"])) == [("i", ["a", "b", "c"])]


def test_tags_are_trimmed_of_unicode_white_space_and_blank_ones_dropped() -> None:
    assert run(Row("i", [f"{_WHITE}a b{_WHITE},{_WHITE},"])) == [("i", ["a b"])]


def test_what_unicode_does_not_call_white_space_stays() -> None:
    """U+001C is trimmed by Python's str.strip(), U+200B and U+FEFF only look like spaces."""
    assert run(Row("i", ["\x1ca,\u200bb,\ufeffc"])) == [("i", ["\x1ca", "\u200bb", "\ufeffc"])]


def test_tags_are_lower_cased() -> None:
    assert run(Row("i", ["Sale,ÉTÉ"])) == [("i", ["sale", "été"])]


def test_a_final_greek_sigma_is_lower_cased_like_any_other() -> None:
    assert run(Row("i", ["ΟΔΟΣ"])) == [("i", ["οδοσ"])]


def test_a_sigma_that_is_final_already_stays() -> None:
    assert run(Row("i", ["οδος"])) == [("i", ["οδος"])]


def test_a_dotted_capital_i_becomes_a_plain_i() -> None:
    assert run(Row("i", ["İZMİR"])) == [("i", ["izmir"])]


def test_tags_are_distinct_in_the_order_of_their_first_appearance() -> None:
    assert run(Row("i", ["b,A, B ,c,a"])) == [("i", ["b", "a", "c"])]


@pytest.mark.parametrize("tags", [None, [], [""], [" , ;|"], [None]])
def test_a_row_without_tags_is_dropped(tags: list[str | None] | None) -> None:
    assert run(Row("gone", tags), Row("stays", ["a"])) == [("stays", ["a"])]


def test_a_missing_tag_among_others_is_ignored() -> None:
    assert run(Row("i", ["a", None, "b"])) == [("i", ["a", "b"])]


@pytest.mark.parametrize("namespace", ["", None, "home", "  ", " home\u00a0"])
def test_rows_of_no_namespace_or_of_the_surface_are_kept(namespace: str | None) -> None:
    assert run(Row("i", ["a"], namespace)) == [("i", ["a"])]


@pytest.mark.parametrize("namespace", ["cart", "Home", "homes", "hom"])
def test_rows_of_another_namespace_are_left_out(namespace: str) -> None:
    assert run(Row("i", ["a"], namespace)) == []


def test_item_ids_are_trimmed_and_a_row_without_one_is_dropped() -> None:
    assert run(Row(" i\u00a0", ["a"]), Row("  ", ["b"]), Row(None, ["c"])) == [("i", ["a"])]


def test_items_are_in_the_order_of_utf8_bytes() -> None:
    rows = run(*(Row(item, ["t"]) for item in "😀\uffeeéaB9"))

    assert [item for item, _ in rows] == ["9", "B", "a", "é", "\uffee", "😀"]


def test_a_repeated_item_stays_repeated_in_catalog_order() -> None:
    rows = [Row("b", [f"t{number}"]) for number in range(50)]

    assert run(*rows, Row("a", ["z"])) == [("a", ["z"])] + [("b", [f"t{n}"]) for n in range(50)]


def test_max_items_keeps_the_first_rows_by_id() -> None:
    rows = [Row("c", ["x"]), Row("a", ["x"]), Row("b", ["1"]), Row("b", ["2"])]

    assert run(*rows, max_items=2) == [("a", ["x"]), ("b", ["1"])]


def test_max_items_counts_only_rows_that_stay() -> None:
    assert run(Row("a", []), Row("b", ["x"], "cart"), Row("c", ["x"]), max_items=1) == [
        ("c", ["x"])
    ]


def test_an_empty_catalog_gives_no_rows_and_holds_the_contract() -> None:
    assert run() == []
    ARTIFACTS["content_sim"].validate(frame(), lazy=True)


@pytest.mark.parametrize("max_items", [0, -1])
def test_a_max_items_below_one_is_refused_with_its_value(max_items: int) -> None:
    with pytest.raises(ValueError, match=rf"max_items={max_items}$"):
        run(max_items=max_items)


_TAGS = st.text(st.sampled_from("aAbΣ\u03c3İÉ,;| \u00a0"), max_size=8)
_ROWS = st.lists(
    st.builds(
        Row,
        st.sampled_from(["a", "b", " b", "é", "", None]),
        st.none() | st.lists(st.none() | _TAGS, max_size=3),
        st.sampled_from(["", "home", "cart", None]),
    ),
    max_size=12,
)


@given(_ROWS, st.integers(1, 8))
def test_agrees_with_brute_force(rows: list[Row], max_items: int) -> None:
    expected = []
    for item, tags, namespace in rows:
        item_id = (item or "").strip(_WHITE)
        parts = [part for tag in tags or [] if tag for part in re.split("[,;|]", tag)]
        # One character at a time, so that no letter is lower-cased by what stands around it.
        lowered = ["".join(c.lower()[0] for c in part).strip(_WHITE) for part in parts]
        kept = list(dict.fromkeys(tag for tag in lowered if tag))
        if item_id and kept and (namespace or "") in {"", "home"}:
            expected.append((item_id, kept))
    expected.sort(key=lambda entry: entry[0].encode())

    assert run(*rows, max_items=max_items) == expected[:max_items]


@given(_ROWS)
def test_repeated_items_are_those_that_are_listed_more_than_once(rows: list[Row]) -> None:
    listed = Counter(item for item, _ in run(*rows))

    found = repeated_items(catalog(*rows), surface="home").rows()

    assert found == [(item, rows) for item, rows in listed.items() if rows > 1]


@given(_ROWS.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))))
def test_row_order_matters_only_among_rows_of_one_item(both: tuple[list[Row], list[Row]]) -> None:
    rows, shuffled = both

    assert sorted(run(*shuffled)) == sorted(run(*rows))
    assert [item for item, _ in run(*shuffled)] == [item for item, _ in run(*rows)]


@given(_ROWS, st.integers(1, 8))
def test_the_result_holds_its_contract(rows: list[Row], max_items: int) -> None:
    ARTIFACTS["content_sim"].validate(frame(*rows, max_items=max_items), lazy=True)
