"""How figures and texts are written for people."""

from gspo_lite.system import figures


def test_figures_are_written_the_same_way_everywhere():
    assert figures.share(0.4961) == "49.6%"
    assert figures.interval([0.449, 0.543]) == "45% to 54%"
    assert figures.measured({"accuracy": 0.5, "ci95": [0.4, 0.6]}, "accuracy", "ci95") == "50.0% (40% to 60%)"
    assert (figures.number(0.126), figures.number(2.0, 0), figures.number(None)) == ("0.13", "2", "none")
    assert figures.number(None, missing="-") == "-"
    assert (figures.minutes(59.9), figures.minutes(61), figures.minutes(3600)) == ("0:59", "1:01", "60:00")


def test_a_long_text_loses_its_middle_and_a_table_lines_up():
    assert figures.brief(" a\n b ", 10) == "a b"
    assert figures.brief("0123456789" * 3, 12) == "0123456 … 89"
    assert list(figures.columns([["a", "bb"], ["ccc", ""]])) == ["a    bb", "ccc"]
