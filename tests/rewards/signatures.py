"""Reward functions as people write them for TRL: each with its name, its options and what it is worth, or the refusal.

The completions are `a`, `bb` and `ccc`, with the columns `answer` 1, 2, 3 and `level` 5, 6, 7; most functions return
the lengths of the completions.
"""

SOURCE = '''
import asyncio, functools, random
from typing import Callable

import numpy as np
from gspo_lite import reward

def lengths(completions):
    return [float(len(completion[0]["content"])) for completion in completions]

def only_completions(completions): return lengths(completions)
def with_kwargs(completions, **kwargs): return lengths(completions)
def trl_documentation(prompts, completions, **kwargs): return lengths(completions)
def without_kwargs(prompts, completions, answer): return [float(gold) for gold in answer]
def only_ids(completion_ids, **kwargs): return [float(len(ids)) for ids in completion_ids]
def only_kwargs(**kwargs): return lengths(kwargs["completions"])
def get_from_kwargs(completions, **kwargs): return [float(gold) for gold in kwargs.get("answer", [])]
def typed(prompts: list, completions: list[list[dict[str, str]]], answer: list[str], **kwargs) -> list[float]:
    return [float(gold) for gold in answer]
def state(completions, trainer_state, **kw):
    return [trainer_state.global_step / trainer_state.max_steps + n for n in lengths(completions)]
def state_alone(completions, trainer_state): return [float(trainer_state.global_step >= 0)] * len(completions)
def logs(completions, answer, log_extra, log_metric, **kw):
    log_extra("gold", answer)
    log_metric("longest", max(lengths(completions)))
    return lengths(completions)
def may_log(completions, log_extra: Callable = None, log_metric=None, environments=None):
    if log_extra: log_extra("length", [str(n) for n in lengths(completions)])
    return lengths(completions)
def positional_only(completions, answer, /): return [float(gold) for gold in answer]
def positional_with_a_default(completions, missing=2.0, level=(), /): return [missing * n for n in level]
def keyword_only(*, completions, level): return [float(n) for n in level]
def arguments(*args, completions, **kw): return lengths(completions) if not args else None
def default_for_a_column(completions, level=None): return [float(n) for n in level]
def default_for_no_column(completions, missing=3.0): return [missing] * len(completions)
def with_option(completions, scale=1.0, **kw): return [scale * n for n in lengths(completions)]
def option_named_as_a_column(completions, level=0.0): return [level] * len(completions)
def option_as_a_column_beside_kwargs(completions, level=0.0, **kw): return [level] * len(completions)
def option_in_kwargs(completions, **kw): return [kw["scale"] * n for n in lengths(completions)]
from_lambda = lambda completions, **_: lengths(completions)
short_lambda = lambda completions, level: [float(n) for n in level]
from_partial = functools.partial(with_option, scale=2.0)
partial_of_closed = functools.partial(lambda completions, answer, base: [base + float(a) for a in answer], base=10.0)
async def asynchronous(completions, answer):
    await asyncio.sleep(0)
    return [float(gold) for gold in answer]
async def asynchronous_with_kwargs(completions, **kw): return lengths(completions)

class Judge:
    def __init__(self, scale=1.0): self.scale = scale
    def __call__(self, completions, level): return [self.scale * n for n in level]
    def method(self, completions, answer): return [self.scale * float(gold) for gold in answer]
    @classmethod
    def of_class(cls, completions, **kw): return lengths(completions)
    @staticmethod
    def static(completions): return lengths(completions)
class Asynchronous:
    async def __call__(self, completions, **kw): return lengths(completions)
class Needy:
    def __init__(self, model, device="cpu"): self.model = model
    def __call__(self, completions, **kw): return lengths(completions)
class Blind:
    def __call__(self, responses, **kw): return [0.0] * len(responses)
class BlindClosed:
    def __call__(self, responses): return [0.0] * len(responses)
class Mute:
    pass
class Prompted:
    def __init__(self, prompts="few"): self.size = float(len(prompts))
    def __call__(self, completions): return [self.size] * len(completions)
class Module:
    def __call__(self, *args, **kwargs): return []
Module.__module__ = "torch.nn.modules.module"  # as that of a reward model
class RewardModel(Module): pass
model = RewardModel()
judge = Judge(2.0)
method = judge.method
asynchronous_instance = Asynchronous()
unbound = Judge.method

def timed(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs): return function(*args, **kwargs)
    return wrapper
def texts_of(function):
    @functools.wraps(function)
    def wrapper(completions, **kwargs): return [function(one[0]["content"]) for one in completions]
    return wrapper
def with_client(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs): return function(*args, client=1.0, **kwargs)
    return wrapper
@timed
def decorated(completions, answer): return [float(gold) for gold in answer]
@texts_of
def decorated_of_a_text(text): return float(len(text))
@with_client
def decorated_with_a_client(completions, client, **kw): return [client * n for n in lengths(completions)]
@timed
async def decorated_asynchronous(completions, answer): return [float(gold) for gold in answer]
@with_client
def decorated_closed_with_a_client(completions, client): return [client * n for n in lengths(completions)]
def text_and_gold(function):
    @functools.wraps(function)
    def wrapper(**kwargs):
        return [function(one[0]["content"], int(gold)) for one, gold in zip(kwargs["completions"], kwargs["answer"])]
    return wrapper
@text_and_gold
def decorated_of_text_and_gold(text, gold): return float(len(text) + gold)
class Timed:
    @timed
    def __call__(self, completions, answer): return [float(gold) for gold in answer]
updated_partial = functools.update_wrapper(functools.partial(with_option, scale=3.0), with_option)

def numpy_array(completions): return np.array(lengths(completions))
def numpy_scalars(completions): return [np.float32(n) for n in lengths(completions)]
def a_tuple(completions): return tuple(lengths(completions))
def a_generator(completions):
    for n in lengths(completions): yield n
def a_map(completions): return map(float, lengths(completions))
def some_none(completions): return [None if n == 2 else n for n in lengths(completions)]
def bools(completions): return [n > 1 for n in lengths(completions)]

def get_scaled(scale: float = 1.0, offset: float = 0.0) -> Callable:
    def scaled(completions, **kwargs): return [scale * n + offset for n in lengths(completions)]
    return scaled
def get_required(max_len: int, cache: int) -> Callable:
    return lambda completion_ids, **kw: [float(len(ids) + cache) for ids in completion_ids]
def get_instance(scale=1.0): return Judge(scale)
def get_async():
    async def later(completions, **kw): return lengths(completions)
    return later
def get_with_kwargs(scale=1.0, **kwargs) -> "Callable[..., list[float]]":
    return functools.partial(with_option, scale=scale)
def get_number(scale=1.0): return scale
def get_blind(scale=1.0): return lambda responses: [0.0]
def get_faulty(scale=1.0): raise ValueError("no such scale")

@reward
def of_one_completion(completion: str, answer: str, *, scale: float = 1.0) -> float:
    """Length and answer."""
    return scale * (len(completion) + int(answer))
@reward
def of_one_with_logs(completion: str, log_extra, trainer_state) -> float:
    """Length."""
    log_extra("text", [completion])
    return float(len(completion) + trainer_state.global_step)

def first_is_texts(texts): return [0.0] * len(texts)
def first_is_responses(responses, answer): return [0.0]
def first_with_kwargs(texts, **kwargs): return [0.0] * len(texts)
def first_is_completion(completion, answer): return 1.0
def completion_with_kwargs(completion, answer, **kwargs): return 1.0
def one_prompt(completions, prompt, **kw): return [0.0]
def nothing(): return [0.0]
def missing_column(completions, answr): return [0.0]
def missing_solution(completions, solution, **kw): return [0.0]
def missing_tokenizer(completions, tokenizer): return [0.0]
def missing_environments(completions, environments): return [0.0]
async def asynchronous_generator(completions):
    yield 0.0
number = 3.0
'''

LENGTHS, GOLDS, LEVELS = [1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [5.0, 6.0, 7.0]
WORKING = [
    ("only_completions", {}, LENGTHS),
    ("with_kwargs", {}, LENGTHS),
    ("trl_documentation", {}, LENGTHS),
    ("without_kwargs", {}, GOLDS),
    ("only_ids", {}, [1.0, 2.0, 3.0]),
    ("only_kwargs", {}, LENGTHS),
    ("get_from_kwargs", {}, GOLDS),
    ("typed", {}, GOLDS),
    ("state", {}, LENGTHS),
    ("state_alone", {}, [1.0, 1.0, 1.0]),
    ("logs", {}, LENGTHS),
    ("may_log", {}, LENGTHS),
    ("positional_only", {}, GOLDS),
    ("positional_with_a_default", {}, [10.0, 12.0, 14.0]),
    ("keyword_only", {}, LEVELS),
    ("arguments", {}, LENGTHS),
    ("default_for_a_column", {}, LEVELS),
    ("default_for_no_column", {}, [3.0, 3.0, 3.0]),
    ("with_option", {"scale": 2.0}, [2.0, 4.0, 6.0]),
    ("option_named_as_a_column", {"level": 9.0}, [9.0, 9.0, 9.0]),
    ("option_as_a_column_beside_kwargs", {"level": 9.0}, [9.0, 9.0, 9.0]),
    ("option_in_kwargs", {"scale": 2.0}, [2.0, 4.0, 6.0]),
    ("from_lambda", {}, LENGTHS),
    ("short_lambda", {}, LEVELS),
    ("from_partial", {}, [2.0, 4.0, 6.0]),
    ("from_partial", {"scale": 3.0}, [3.0, 6.0, 9.0]),
    ("partial_of_closed", {}, [11.0, 12.0, 13.0]),
    ("updated_partial", {}, [3.0, 6.0, 9.0]),
    ("asynchronous", {}, GOLDS),
    ("asynchronous_with_kwargs", {}, LENGTHS),
    ("asynchronous_instance", {}, LENGTHS),
    ("Asynchronous", {}, LENGTHS),
    ("Judge", {}, LEVELS),
    ("Judge", {"scale": 2.0}, [10.0, 12.0, 14.0]),
    ("Prompted", {"prompts": "many"}, [4.0, 4.0, 4.0]),
    ("judge", {}, [10.0, 12.0, 14.0]),
    ("judge.method", {}, [2.0, 4.0, 6.0]),
    ("method", {}, [2.0, 4.0, 6.0]),
    ("Judge.of_class", {}, LENGTHS),
    ("Judge.static", {}, LENGTHS),
    ("decorated", {}, GOLDS),
    ("decorated_of_a_text", {}, LENGTHS),
    ("decorated_with_a_client", {}, LENGTHS),
    ("decorated_closed_with_a_client", {}, LENGTHS),
    ("decorated_of_text_and_gold", {}, [2.0, 4.0, 6.0]),
    ("Timed", {}, GOLDS),
    ("decorated_asynchronous", {}, GOLDS),
    ("numpy_array", {}, LENGTHS),
    ("numpy_scalars", {}, LENGTHS),
    ("a_tuple", {}, LENGTHS),
    ("a_generator", {}, LENGTHS),
    ("a_map", {}, LENGTHS),
    ("some_none", {}, [1.0, None, 3.0]),
    ("bools", {}, [0.0, 1.0, 1.0]),
    ("get_scaled", {}, LENGTHS),
    ("get_scaled", {"scale": 2.0, "offset": 1.0}, [3.0, 5.0, 7.0]),
    ("get_required", {"max_len": 9, "cache": 4}, [5.0, 6.0, 7.0]),
    ("get_instance", {"scale": 2.0}, [10.0, 12.0, 14.0]),
    ("get_async", {}, LENGTHS),
    ("get_with_kwargs", {"scale": 4.0}, [4.0, 8.0, 12.0]),
    ("of_one_completion", {"scale": 2.0}, [4.0, 8.0, 12.0]),
    ("of_one_with_logs", {}, LENGTHS),
]
BY_NAME = "arguments are passed by name, as in TRL: rename `texts` to `completions`"
REFUSED = [
    ("first_is_texts", {}, "takes no `completions`, and nothing fills its `texts`", BY_NAME),
    ("first_is_responses", {}, "nothing fills its `responses`, `answer`", "rename `responses` to `completions`; if it"),
    ("first_is_completion", {}, "takes no `completions`", "or put `@gspo_lite.reward` over a function of one"),
    ("completion_with_kwargs", {}, "takes `completion`, which TRL does not pass", "name it `completions`, a list"),
    ("one_prompt", {}, "takes `prompt`, which TRL does not pass", "name it `prompts`, a list"),
    ("nothing", {}, "takes no `completions`, and it returned a list", "add a parameter `completions`"),
    ("missing_column", {}, "reads the column `answr`; the data has `prompt`, `answer`, `level`; did you mean `answer`",
     "add the column to the data, or give the parameter a default"),
    ("missing_solution", {}, "reads the column `solution`; the data has", "add the column to the data"),
    ("missing_tokenizer", {}, "reads the column `tokenizer`; the data has", "or a value in the reward's `options`"),
    ("missing_environments", {}, "reads the column `environments`", "only a trainer with an `environment_factory`"),
    ("asynchronous_generator", {}, "is an asynchronous generator", "return a list"),
    ("unbound", {}, "is a method of the class `Judge`, and there is no instance", "`judge = Judge(...)`"),
    ("Judge.method", {}, "is a method of the class `Judge`", "`judge = Judge(...)`"),
    ("Needy", {}, "is made with `model`, which nothing fills", "add `options: {model: ...}`"),
    ("Needy", {"model": "m", "devise": 1}, "has no option `devise`; did you mean `device`", None),
    ("Blind", {}, "reads the column `responses`", "rename `responses` to `completions`, or add the column"),
    ("first_with_kwargs", {}, "reads the column `texts`", f"{BY_NAME}, or add the column"),
    ("BlindClosed", {}, "takes no `completions`", "rename `responses` to `completions`"),
    ("Mute", {}, "is a class whose instances cannot be called", "add a method `__call__`"),
    ("get_required", {}, "is made with `max_len`, `cache`", "add `options: {max_len: ..., cache: ...}`"),
    ("get_required", {"max_len": 3}, "is made with `cache`, which nothing fills", "add `options: {cache: ...}`"),
    ("get_scaled", {"skale": 1.0}, "has no option `skale`; did you mean `scale`.; allowed: `scale`, `offset`", None),
    ("get_number", {}, "takes no `completions`, and it returned a float, not a reward", "add a parameter"),
    ("get_blind", {}, "takes no `completions`", "rename `responses` to `completions`"),
    ("get_faulty", {}, "cannot be made with these options: ValueError: no such scale", None),
    ("only_completions", {"scale": 1.0}, "has no option `scale`; allowed: none", None),
    ("with_option", {"completions": []}, "`completions` is passed at every call", None),
    ("of_one_completion", {"skale": 1.0}, "option `skale`: unknown; allowed: scale", None),
    ("model", {}, "is a model, not a function", "write `{name: reward_model, options: {model: FOLDER}}`"),
    ("number", {}, "is a float, not a function", None),
    ("with_optoin", {}, "has no `with_optoin`; did you mean `with_option`", None),
]  # fmt: skip
