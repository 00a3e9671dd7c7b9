"""Reads clock times and dates, whose colons and strokes are not division.

    "4:15 p.m." -> 16:15      "noon" -> 12:00      "May 3rd, 2024", "3 May 2024", "2024-05-03" -> 2024, 5, 3

A date in figures alone is compared in the order it is written, as nothing tells its days from its months.
"""

from __future__ import annotations

import re
from calendar import day_name, month_abbr, month_name
from dataclasses import dataclass

from gspo_lite.rewards.grading.words import ORDINALS, TENS

CLOCK = re.compile(
    r"(?:at )?(\d{1,2})(?: ?: ?(\d{2})(?: ?: ?(\d{2}))?)? ?(?:(a|p)\.? ?m\.?|(o'? ?clock)|(?:hours|hrs|h))?"
    r"(?:,? (?:(?:in the )?(morning|afternoon|evening)|at (night)))?",
    re.IGNORECASE,
)
NAMED_HOURS = {"noon": 12, "midday": 12, "12 noon": 12, "12:00 noon": 12, "midnight": 0, "12 midnight": 0}
MONTHS = {name.lower(): number for names in (month_name, month_abbr) for number, name in enumerate(names) if name}
MONTHS["sept"] = 9
MONTH = rf"(?P<month>{'|'.join(sorted(MONTHS, key=len, reverse=True))})\.?"
DAY = r"(?:the )?(?P<day>\d{1,2}(?:st|nd|rd|th)?|[a-z]{5,9}(?:-[a-z]{5,7})?)"
YEAR = r"(?:,? (?:of )?(?P<year>\d{4}))"
DATES = [
    re.compile(rf"{MONTH} {DAY}{YEAR}?", re.IGNORECASE),
    re.compile(rf"{DAY} (?:of )?{MONTH}{YEAR}?", re.IGNORECASE),
    re.compile(rf"{MONTH}{YEAR}", re.IGNORECASE),
    re.compile(r"(?P<year>\d{4})(?P<sign>[-/.])(?P<month>\d{1,2})(?P=sign)(?P<day>\d{1,2})"),
]
FIGURES = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})")
WEEKDAY = re.compile(rf"(?:on )?({'|'.join(day_name)}),? ", re.IGNORECASE)


@dataclass(frozen=True)
class Clock:
    """A time of day as written; `half` is a or p if the text says which half of the day."""

    hour: int
    minute: int
    second: int
    half: str

    @property
    def hours(self) -> int | None:
        """The hour from 0 to 23; None if it can be either half of the day."""
        if self.half:
            return self.hour % 12 + 12 * (self.half == "p")
        return self.hour % 24 if self.hour > 12 or self.hour == 0 else None

    @property
    def certain(self) -> bool:
        """Whether the text cannot be a ratio."""
        return bool(self.half) or self.minute < 10


def clock_of(text: str) -> Clock | None:
    """Return a time of day; None for other texts."""
    named = NAMED_HOURS.get(text.lower())
    if named is not None:
        return Clock(12, 0, 0, "p" if named else "a")
    match = CLOCK.fullmatch(text)
    if match is None:
        return None
    hour, minute, second = (int(part or "0") for part in match.group(1, 2, 3))
    half = (match[4] or {"morning": "a"}.get((match[6] or "").lower(), "p" if match[6] or match[7] else "")).lower()
    said = match[2] or half or match[5]
    ratio = match[3] and "0" not in (match[2][0], match[3][0]) and not half  # three numbers with colons
    if not said or hour > 24 or minute > 59 or second > 59 or (half and not 0 < hour < 13) or ratio:
        return None
    return Clock(hour, minute, second, half)


def same_clock(given: Clock, wanted: Clock) -> bool:
    """Return whether two times of day are the same; the half of the day may be left out."""
    if (given.minute, given.second) != (wanted.minute, wanted.second):
        return False
    hours = given.hours, wanted.hours
    return hours[0] == hours[1] if None not in hours else given.hour == wanted.hour


def date_of(text: str) -> tuple[int | None, ...] | None:
    """Return year, month, day and weekday, None for those left out; the parts in their order for figures alone."""
    day_of_week = WEEKDAY.match(text)
    weekday = list(day_name).index(day_of_week[1].capitalize()) if day_of_week else None
    text = text[day_of_week.end() :] if day_of_week else text
    figures = FIGURES.fullmatch(text)
    if figures:
        return (*(int(figures[part]) for part in (1, 3, 4)), weekday)
    match = next((found for found in (date.fullmatch(text) for date in DATES) if found), None)
    if match is None:
        return None
    parts = match.groupdict()
    year, month = parts.get("year"), parts["month"].lower()
    day = day_in(parts.get("day") or "")
    if parts.get("day") and day is None:
        return None
    return int(year) if year else None, MONTHS.get(month) or int(month), day, weekday


def day_in(text: str) -> int | None:
    """Return the day of a month: 3, 3rd, third, twenty-first."""
    digits = re.match(r"\d+", text)
    if digits:
        return int(digits[0])
    tens, _, last = text.lower().rpartition("-")
    return TENS.get(tens, 0) + ORDINALS[last] if last in ORDINALS else None


def same_date(given: tuple[int | None, ...], wanted: tuple[int | None, ...]) -> bool:
    """Return whether two dates have the same parts; only the weekday may be left out."""
    return given[:3] == wanted[:3] and (None in (given[3], wanted[3]) or given[3] == wanted[3])
