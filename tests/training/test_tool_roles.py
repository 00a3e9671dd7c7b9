"""Which chat templates can hold a conversation with tools, and what to do about one that cannot."""

import pytest
from trl import chat_template_utils as templates

from gspo_lite.errors import UsageError
from gspo_lite.models.starter import build_tokenizer
from gspo_lite.training.tool_roles import families, refuse_without_tool_roles
from tests.training.playing import RESPONSE, TEMPLATE


def tokenizer(template, response=None):
    made = build_tokenizer()
    made.chat_template, made.response_template = template, response
    return made


@pytest.mark.parametrize("family", ["qwen3", "qwen2_5", "qwen3_5_think", "gptoss", "llama3_1", "glm4moe", "gemma4"])
def test_families_that_trl_knows_pass(family):
    made = tokenizer(getattr(templates, f"{family}_chat_template"))
    refuse_without_tool_roles(made, "x")
    assert made.response_template is None  # TRL sets it
    assert family in families()


def test_a_template_of_ones_own_passes_with_its_response_template():
    refuse_without_tool_roles(tokenizer(TEMPLATE, RESPONSE), "x")


@pytest.mark.parametrize(
    ("template", "response", "problem", "hint"),
    [
        (None, None, "leaves out calls of tools or their results", "Qwen3"),
        (templates.phi3_chat_template, None, "leaves out calls", "trained to call tools"),
        (TEMPLATE, None, "is not one whose calls of tools the installed TRL can read", "set `response_template`"),
        (templates.qwen3_chat_template + " ", None, "TRL can read", "of which `qwen3` is the nearest"),
        (templates.qwen3_chat_template + " ", RESPONSE, "renders earlier messages otherwise", "`qwen3` is the nearest"),
    ],
)
def test_what_cannot_play_is_refused_with_the_nearest_remedy(template, response, problem, hint):
    with pytest.raises(UsageError) as error:
        refuse_without_tool_roles(tokenizer(template, response), "x")
    assert problem in error.value.message
    assert hint in error.value.hint
