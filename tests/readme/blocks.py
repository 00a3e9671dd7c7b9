"""The code blocks of a Markdown page: what they are and where they stand, and the commands among them."""

from __future__ import annotations

import re
from dataclasses import dataclass

PROGRAMS = ("gspo-lite", "uv", "uvx", "pip", "source", "python", "git", "export", "cd", "ollama", "llama-server")


@dataclass(frozen=True)
class Block:
    """A code block: the number of its first line, its language (`indented` without fences), and its lines."""

    line: int
    language: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The lines as they are run."""
        return "\n".join(self.lines) + "\n"

    @property
    def holds_commands(self) -> bool:
        """Whether a reader is meant to type it."""
        return self.language in ("bash", "shell", "sh") or (
            self.language == "indented" and self.lines[0].split()[0] in PROGRAMS
        )


def blocks_of(page: str) -> list[Block]:
    """Return every code block of a page, in order."""
    lines, found, number = page.split("\n"), list[Block](), 0
    while number < len(lines):
        start = number
        if lines[number].startswith("```"):
            while not lines[number + 1].startswith("```"):
                number += 1
            language = lines[start].removeprefix("```").strip() or "output"
            found.append(Block(start + 2, language, tuple(lines[start + 1 : number + 1])))
            number += 1
        elif lines[number].startswith("    "):
            while number + 1 < len(lines) and lines[number + 1].startswith("    "):
                number += 1
            found.append(Block(start + 1, "indented", tuple(line[4:] for line in lines[start : number + 1])))
        number += 1
    return found


def commands_of(page: str) -> list[tuple[int, str]]:
    """Return the commands of a page with their line numbers, without comments, continued lines joined."""
    found, begun = list[tuple[int, str]](), ""
    for block in blocks_of(page):
        for offset, line in enumerate(block.lines if block.holds_commands else ()):
            text = re.sub(r"(^|\s+)#.*", "", line).strip()
            if text.endswith("\\"):
                begun += text[:-1]
            elif begun + text:
                found.append((block.line + offset, begun + text))
                begun = ""
    return found
