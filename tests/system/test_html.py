"""Every text is escaped, and tables say what their rows and columns are."""

from __future__ import annotations

from msae_jax.system.html import Figure, Html, bullets, element, shown, table, text


def test_text_is_escaped_once() -> None:
    assert text("<b> & \"c\" 'd'") == "&lt;b&gt; &amp; &quot;c&quot; &#x27;d&#x27;"
    assert text(text("<")) == "&lt;"
    assert text("a\x1b[31m\u202e") == "a\\x1b[31m\\u202e"  # what a terminal or a browser obeys


def test_elements_escape_children_and_attributes() -> None:
    made = element("a", "<i>", Html("<b></b>"), href='"><script>', class_="x", title=None)
    assert made == '<a href="&quot;&gt;&lt;script&gt;" class="x">&lt;i&gt;<b></b></a>'
    assert element("meta", http_equiv="a") == '<meta http-equiv="a">'


def test_numbers_are_read_by_people() -> None:
    assert [shown(x) for x in (0.123456789, 12345, float("nan"), True, None, "a")] == [
        "0.12346",
        "12,345",
        "not finite",
        "yes",
        "none",
        "a",
    ]
    assert shown({"a": 1.5, "b": ["c", 2000]}) == "a 1.5, b [c, 2,000]"


def test_a_table_names_rows_and_columns() -> None:
    made = table(("name", "value"), [("<a>", 1.5), ("b", Figure("1 to 2"))], "what")
    assert made == (
        "<table><caption>what</caption>"
        '<thead><tr><th scope="col">name</th><th scope="col" class="n">value</th></tr></thead>'
        '<tbody><tr><th scope="row">&lt;a&gt;</th><td class="n">1.5</td></tr>'
        '<tr><th scope="row">b</th><td class="n">1 to 2</td></tr></tbody></table>'
    )


def test_no_items_are_no_list() -> None:
    assert bullets([]) == ""
    assert bullets(["<"]) == "<ul><li>&lt;</li></ul>"
