"""What several processes of one run are told apart by, and what they refuse."""

import pytest

from gspo_lite import load_recipe
from gspo_lite.errors import MachineError, RecipeError, UsageError
from gspo_lite.system import processes
from gspo_lite.system.lock import LOCK, held
from gspo_lite.system.say import say
from gspo_lite.training.checkpoint.differences import refuse_other_processes
from gspo_lite.training.checkpoint.manifest import Checkpoint
from gspo_lite.training.checkpoint.rollout_state import own

SERVER = ["model.backend=transformers", "model.load_in_4bit=false", "generation.engine=vllm"]
ADDRESS = "training.extra.vllm_server_base_url=http://localhost:8000"


@pytest.fixture
def second(monkeypatch):
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)


def test_one_process_is_the_main_one(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")  # as a scheduler sets it for a program that no launcher started
    assert (processes.count(), processes.rank(), processes.is_main()) == (1, 0, True)
    assert processes.gathered("x") == ["x"]


def test_the_second_takes_no_lock_and_writes_files_of_its_own(second, tmp_path):
    assert (processes.count(), processes.device_index(), processes.is_main()) == (2, 1, False)
    with held(tmp_path / "run"):
        assert not (tmp_path / "run" / LOCK).exists()
    assert own(tmp_path / "rollout.safetensors").name == "rollout_1.safetensors"


def test_only_the_first_process_speaks(monkeypatch, capsys):
    say("one")
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    say("two")
    assert capsys.readouterr() == ("", "one\n")


def test_a_checkpoint_of_another_number_of_processes_is_refused(second, tmp_path):
    refuse_other_processes(Checkpoint(tmp_path, 4, {"processes": 2}))
    with pytest.raises(UsageError, match="was written by 1 processes, but this run has 2"):
        refuse_other_processes(Checkpoint(tmp_path, 4, {}))


@pytest.mark.parametrize(
    ("variables", "how"),
    [
        ({"ACCELERATE_USE_FSDP": "true"}, "FSDP"),
        ({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}, "ZeRO-3"),
        ({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}, None),
    ],
)
def test_weights_in_pieces_are_refused(variables, how, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if how is None:
        processes.refuse_sharded()
    else:
        with pytest.raises(MachineError, match=how):
            processes.refuse_sharded()


def test_a_vllm_server_is_used_where_the_recipe_names_one(tmp_path):
    from gspo_lite.training.config import config_from_recipe

    modes = []
    for extra in ([], [ADDRESS]):
        recipe = load_recipe("gsm8k_gspo", [*SERVER, *extra]).recipe
        modes.append(config_from_recipe(recipe, tmp_path, use_vllm=True).vllm_mode)
    assert modes == ["colocate", "server"]
    with pytest.raises(RecipeError, match="a vLLM server works with TRL's own trainer only"):
        load_recipe("gsm8k_gspo", [ADDRESS])
