"""The whole table, by theme."""

from __future__ import annotations

from tests.training.trl_behaviours.adapters import ADAPTERS
from tests.training.trl_behaviours.batches import BATCHES
from tests.training.trl_behaviours.behaviour import Behaviour
from tests.training.trl_behaviours.data_and_models import DATA, MODELS
from tests.training.trl_behaviours.evaluation import EVALUATIONS
from tests.training.trl_behaviours.losses import LOSSES
from tests.training.trl_behaviours.records import RECORDS
from tests.training.trl_behaviours.refusals import REFUSALS
from tests.training.trl_behaviours.rewards import REWARDS
from tests.training.trl_behaviours.sampling import SAMPLING
from tests.training.trl_behaviours.tools import TOOLS
from tests.training.trl_behaviours.vision import VISION

THEMES: dict[str, list[Behaviour]] = {
    "Data": DATA,
    "Models": MODELS,
    "Adapters": ADAPTERS,
    "Images": VISION,
    "Rewards": REWARDS,
    "Losses": LOSSES,
    "Sampling": SAMPLING,
    "Tools and environments": TOOLS,
    "Batches and steps": BATCHES,
    "Evaluation": EVALUATIONS,
    "Figures, completions, checkpoints": RECORDS,
    "Settings and refusals": REFUSALS,
}
TABLE = [behaviour for theme in THEMES.values() for behaviour in theme]
