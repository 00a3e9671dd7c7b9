"""The method that each algorithm of a recipe is: its name, the level of its ratio, and the paper it is from."""

from __future__ import annotations

from typing import NamedTuple


class Paper(NamedTuple):
    """A paper: its title, its number on arXiv, and its entry for BibTeX."""

    title: str
    arxiv: str
    citation: str


class Method(NamedTuple):
    """A method: its name, the level of its importance ratio, and its paper."""

    name: str
    level: str
    paper: Paper

    @property
    def tag(self) -> str:
        """The tag of its models on the hub."""
        return self.name.lower()


GSPO = Paper(
    "Group Sequence Policy Optimization",
    "2507.18071",
    """\
@article{zheng2025gspo,
    title   = {{Group Sequence Policy Optimization}},
    author  = {Chujie Zheng and Shixuan Liu and Mingze Li and Xiong-Hui Chen and Bowen Yu and Chang Gao and Kai Dang
               and Yuqiong Liu and Rui Men and An Yang and Jingren Zhou and Junyang Lin},
    year    = 2025,
    eprint  = {arXiv:2507.18071},
}""",
)
GRPO = Paper(
    "DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models",
    "2402.03300",
    """\
@article{shao2024deepseekmath,
    title   = {{DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models}},
    author  = {Zhihong Shao and Peiyi Wang and Qihao Zhu and Runxin Xu and Junxiao Song and Xiao Bi and Haowei Zhang
               and Mingchuan Zhang and Y. K. Li and Y. Wu and Daya Guo},
    year    = 2024,
    eprint  = {arXiv:2402.03300},
}""",
)
METHODS = {
    "gspo": Method("GSPO", "sequence", GSPO),
    "gspo_token": Method("GSPO-token", "sequence_token", GSPO),  # section 4.3 of the same paper
    "grpo": Method("GRPO", "token", GRPO),
}


def method_at(level: str) -> Method:
    """Return the method whose importance ratio has this level."""
    return next(method for method in METHODS.values() if method.level == level)
