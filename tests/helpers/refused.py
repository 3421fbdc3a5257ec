"""How a mistake of a person is answered."""

from __future__ import annotations


def assert_refused(result: tuple[int, str, str], *named: str) -> None:
    """A command ended with code 2 and a line or two that name what is wrong."""
    code, out, err = result
    assert code == 2, (code, out, err)
    lines = err.splitlines()
    assert 1 <= len(lines) <= 3, err
    assert "Traceback" not in err
    assert out == ""
    for name in named:
        assert name in err, f"{name!r} is not in: {err}"
    # pydantic's words for Python's types mean nothing at a microscope.
    for jargon in ("tuple", "dictionary", "instance of", "NoneType"):
        assert jargon not in err, err
