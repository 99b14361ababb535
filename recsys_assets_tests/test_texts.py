from __future__ import annotations

import html
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from recsys_assets.texts import as_chat, as_code, as_markdown, cut_between_values, printable

# What others may call a file, a column or an item.
HOSTILE = [
    "![x](http://evil.example/x.png)",
    "![x y](http://evil.example/x.png 'z')",
    "[x](javascript:alert(1))",
    "[x]: http://evil.example [x]",
    "<img src=x onerror=alert(1)>",
    "<http://evil.example>",
    "http://evil.example",
    "HTTPS://evil.example",
    "(www.evil.example)",
    "somebody@evil.example",
    "`code`",
    "``` x ```",
    "`![x](http://evil.example)",
    "``",
    "*a* _b_ **c** __d__ ~e~ ~~f~~",
    "&lt;b&gt; &#60;",
    "\\![x](http://evil.example)",
    "# head",
    "1. list",
    "- list",
    "> quote",
    "a\n# head\n\n```\nx",
    "a | b\n--|--\nc | d",
    "\x1b[2J\u202e\x07",
]
_TEXTS = st.text(st.sampled_from("ab1 \n\\`*_[]()<>!#~@&;:/.-+=|\x1b")) | st.text()


def inline(markdown: str) -> list[Token]:
    """Return what stands in the only paragraph of a text."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)
    assert [token.type for token in tokens] in (
        [],
        ["paragraph_open", "inline", "paragraph_close"],
    )
    return [token for of in tokens for token in of.children or []]


@given(_TEXTS)
@example(">0")
@example("` `")
@example("a`` ``` b` `c")
def test_markdown_shows_a_text_and_does_nothing_else(text: str) -> None:
    found = inline(as_markdown(text))

    assert {token.type for token in found} <= {"text", "code_inline"}
    assert "".join(token.content for token in found) == " ".join(map(printable, text.split()))


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_fetches_links_or_inserts_anything(text: str) -> None:
    found = inline(as_markdown(f"found {text}"))

    assert {token.type for token in found} <= {"text", "code_inline"}
    # Pages make links of bare addresses in text, and of none in code.
    plain = " ".join(token.content for token in found if token.type == "text").lower()
    assert not any(link in plain for link in ("http:", "https:", "www.", "@"))


@pytest.mark.parametrize(
    "text",
    [
        "guardrails.max_rejected_share is 0.01, found 0.6667: invalid_json (1), missing_id (1)",
        "2 of 31 days failed; 2026-01-04: s3://bucket/raw/a_b-c.jsonl.gz is not there",
        "no raw file matches 'demo/home/x.jsonl' below /data/raw!",
        "",
    ],
)
def test_a_text_without_such_words_stays_as_it_is(text: str) -> None:
    assert as_markdown(text) == text


@given(_TEXTS.filter(lambda text: text.strip(" ") == text and text != ""))
@example("`")
@example("``a`")
def test_code_shows_a_text_and_does_nothing_else(text: str) -> None:
    (token,) = inline(f"x {as_code(text)}")[1:]

    assert (token.type, token.content) == ("code_inline", printable(text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Zürich 1 [b]", "Zürich 1 [b]"),
        ("\x1b[2J\x07\r\n\t", "\\x1b[2J\\x07\\r\\n\\t"),
        ("\x9b31m \u202egnp", "\\x9b31m \\u202egnp"),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(_TEXTS)
@example("<!channel> &lt; &")
def test_a_chat_shows_a_text_and_does_nothing_else(text: str) -> None:
    """Slack obeys what stands in angle brackets, and reads three entities."""
    sent = as_chat(text)

    assert not re.search(r"[<>]|&(?!(amp|lt|gt);)", sent)
    assert html.unescape(sent) == text


@pytest.mark.parametrize("most", range(20, 60))
def test_a_raw_line_is_cut_where_no_id_is_cut(most: int) -> None:
    for line in (
        '{"v": 1, "user_id": "ann-the-user", "session_id": "ann-the-user:1"}',
        "1;2026-01-01;ann-the-user;ann-the-user-1;more;more;more;more;more;more",
        "1\t2026-01-01\tann-the-user\tmore\tmore\tmore\tmore\tmore\tmore\tmore\t",
    ):
        cut = cut_between_values(line, most)
        assert len(cut) <= most
        assert "ann-the-u" not in cut.replace("ann-the-user", "")
    assert cut_between_values("ann-the-user", 20) == "ann-the-user"
