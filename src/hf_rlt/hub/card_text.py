# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Markdown in which names and values appear as they are: no markup, links or mentions come of them."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

ADDRESS = re.compile(r"https?://[\w.~:/?#@!$&+,;=%-]+")
REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")
# Text that Markdown, the Hub or GitHub turn into a link or a mention even if it is escaped.
LINKED = re.compile(r"@|://|www\.|mailto:", re.IGNORECASE)


def cell(text: Any) -> str:
    """Escape text for one line or cell; format it as code if it could become a link or mention."""
    flat = " ".join(str(text).split())
    if LINKED.search(flat):
        return code(flat)
    flat = flat.replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{mark}" if mark in "\\`|[]*_~$" else mark for mark in flat)


def code(text: Any) -> str:
    """Format text as inline code on one line."""
    flat = " ".join(str(text).split()).replace("<!--", "<! --")  # so as not to end the part of the card that is ours
    longest = max(map(len, re.findall("`+", flat)), default=0)
    fence, space = "`" * (longest + 1), " " if flat[:1] == "`" or flat[-1:] == "`" else ""
    return f"{fence}{space}{flat}{space}{fence}"


def link(name: str, address: str) -> str:
    """Return a link, or just the name if the address is none."""
    return f"[{cell(name)}]({address})" if ADDRESS.fullmatch(address) else cell(name)


def hub_link(name: str, kind: str = "") -> str:
    """Return a link to a repository on the Hub, or just the name if it cannot be one."""
    return f"[{name}](https://huggingface.co/{kind}{name})" if REPOSITORY.fullmatch(name) else cell(name)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], align: str = "") -> str:
    """Return a table of cells in Markdown, whose bars are escaped; `align` is "l" or "r" for each column."""
    rules = ["---:" if side == "r" else "---" for side in align or "l" * len(header)]
    lines = [[re.sub(r"(?<!\\)\|", r"\\|", each) for each in row] for row in (header, *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rules, *lines[1:]))
