"""The `data` part of a recipe: where problems come from, their prompts, and the layout of their completions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gspo_lite.completion.markers import Marker
from gspo_lite.completion.text import Layout
from gspo_lite.completion.thinking import Thinking
from gspo_lite.recipe.fields import PositiveInt, Settings, Text

STYLE_MARKERS: dict[str, Marker] = {"think_answer": "tag", "boxed": "boxed", "plain": "gsm8k"}


class Columns(Settings):
    """Names of the source's columns, `a.b` for an entry of one; every other column is available to the rewards."""

    prompt: Text | None = Field(
        None, description="Column with the question, text or messages. Default: the adapter's, `prompt` for `columns`."
    )
    answer: Text | None = Field(
        None, description="Column with the right answer. Default: the adapter's, `answer` for `columns`."
    )
    images: Text = Field("images", description="Column with an image or a list of images; ignored where absent.")
    rename: dict[str, Text] = Field(
        default_factory=dict, description="Names that rewards read, each with its column: {tests: input_output}."
    )


class EvalData(Settings):
    """The held-out problems on which the model is evaluated before and after training."""

    source: Text | None = Field(None, description="As data.source; if left out, held out from data.source.")
    split: Text = Field("test", description="Split of a hub data set or an embedded source; ignored for a local file.")
    limit: PositiveInt | None = Field(500, description="Number of problems to use, from the first; null for all.")
    during_training: PositiveInt | None = Field(
        100, description="Number of these problems, from the first, for training.eval_steps; null for all."
    )
    batch_size: PositiveInt = Field(64, description="Completions generated at a time.")


class DataSettings(Settings):
    """Where problems come from, and how each becomes a prompt."""

    source: Text = Field(
        description="Hub id, local file (.jsonl, .json, .csv, .tsv, .parquet, .arrow), pattern of files, or folder; "
        "the embedded `arithmetic`, `countdown`, `directory`, `letters`, `people` or `word_problems`."
    )
    subset: Text | None = Field(
        None,
        description="Configuration of a hub data set (gsm8k: `main`), or difficulty of an embedded one: easy, hard.",
    )
    split: Text = Field("train", description="Split of a hub data set or an embedded source; ignored for a local file.")
    adapter: Text = Field("columns", description="Maker of problems: a name, `module:function` or `file.py:function`.")
    columns: Columns = Field(Columns(), description="Names of the source's columns.")
    template: Text | None = Field(
        None, description="The question, with columns in braces: {instruction}\\n{input}. Replaces columns.prompt."
    )
    prompt: Literal["think_answer", "boxed", "plain"] = Field(
        "think_answer", description="Prompt style: think and answer tags, answer in \\boxed{}, or only the question."
    )
    system_prompt: str | None = Field(
        "auto", description="System message of one's own; `auto` is that of data.prompt, null or empty is none."
    )
    marker: Marker | None = Field(
        None,
        description="Where the answer stands: `tag`, `boxed`, `gsm8k`, `last_number`, `text`, `fence`, or a mapping "
        "with one of `tags: [open, close]`, `prefix` and `regex`. Default: where data.prompt asks for it.",
    )
    thinking: Thinking = Field(
        "think",
        description="Which tags mean thinking: `think`, `thinking`, `reasoning`, `magistral`, `gpt_oss`, `gemma`, or "
        "an opening and a closing tag of one's own, `[open, close]`.",
    )
    limit: PositiveInt | None = Field(None, description="Number of problems to use, from the first; null for all.")
    streaming: bool = Field(False, description="Read only the first rows of a hub data set, as many as needed.")
    bad_rows: Literal["stop", "skip"] = Field("stop", description="What to do with rows that cannot be used.")
    eval: EvalData = Field(EvalData(), description="The held-out problems.")

    @property
    def layout(self) -> Layout:
        """How a completion is laid out; rewards, credit and evaluation follow it."""
        return Layout(self.marker or STYLE_MARKERS[self.prompt], self.thinking)

    @property
    def names_a_place(self) -> bool:
        """Whether the answer's place is said here; without a marker, `plain` leaves it to the rewards."""
        return self.prompt != "plain" or self.marker is not None
