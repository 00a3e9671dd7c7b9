"""What of a run goes to the hub, what it says there, and that a pushed adapter loads, on a stand-in for the hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gspo_lite.errors import UsageError
from gspo_lite.export import publication
from gspo_lite.export.shareable import without_folders
from gspo_lite.system import run_folder
from gspo_lite.training.checkpoint.manifest import write_manifest
from tests.export.hub_stand_in import running_hub
from tests.report.test_report import BOTH, make_run

TOKEN = "hf_" + "k" * 20
TEXT = "a secret of many customers"
DATA = """
  source: /home/jane/data/train.jsonl
  subset: null
  prompt: boxed
  system_prompt: /no_think Use <b>1</b>
  eval: {source: null, split: test}"""
RECIPE = f"""
model: {{name: org/base, lora: {{rank: 8}}}}
data: {DATA}
rewards: [{{name: "/home/jane/my rewards/own.py:short", weight: 1.0}}]
objective: {{algorithm: gspo, epsilon: 3.0e-4, epsilon_high: 4.0e-4}}
training: {{max_steps: 12, steps_per_generation: 4, gradient_accumulation_steps: 1}}
output: {{dir: /home/jane/runs/one}}
"""
WEIGHTS = ["adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "tokenizer.json"]
FOR_RESUMING = ["optimizer.pt", "rollout.safetensors", "trainer_state.json", "training_args.bin"]
MADE = ["README.md", "eval.json", "plots/learning.png", "plots/policy.png", "recipe.yaml", "report.html", "report.md"]


def save_weights(folder):
    folder.mkdir(parents=True)
    for name in (*WEIGHTS, *FOR_RESUMING, "README.md"):
        (folder / name).write_text("{}" if name in WEIGHTS else f"/home/jane {TEXT}")
    save_config(folder, "org/base")


def save_config(folder, base):
    config = {"base_model_name_or_path": str(base), "peft_type": "LORA", "r": 8}
    (folder / "adapter_config.json").write_text(json.dumps(config))


@pytest.fixture
def run(tmp_path):
    """A finished run whose folder also holds what nobody else should see."""
    folder = make_run(tmp_path / "run", evaluation=BOTH, text=TEXT, recipe=RECIPE)
    save_weights(folder / "adapter")
    save_weights(folder / "checkpoints" / "checkpoint-8")
    write_manifest(folder / "checkpoints" / "checkpoint-8", 8, {})
    run_folder.note_event(folder, 3, run_folder.STOPPED, f"reward `short` failed on `{TEXT}`")
    run_folder.note_event(folder, 4, "warning", "see /home/jane/logs/x")
    return folder


def change(run, old, new):
    path = run / "recipe.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def sent(path, **wishes):
    """The files that would go up, by name, with their content."""
    wished = publication.Wishes("me/adder", **wishes)
    found = publication.trained(path, wished)
    with publication.staged(found, publication.as_said(found, wished), texts=wished.texts) as files:
        return {name: file.read_bytes() for name, file in files.items()}


def head_of(files):
    return yaml.safe_load(files["README.md"].decode().split("---\n")[1])


def test_only_what_loads_and_explains_the_model_goes_up(run):
    files = sent(run)
    assert sorted(files) == sorted([*WEIGHTS, *MADE])
    for name, data in files.items():
        assert b"/home/jane" not in data, name
        assert TEXT.encode() not in data, name
    assert b"step 4: see x" in files["report.md"]
    recipe = yaml.safe_load(files["recipe.yaml"])
    assert recipe["data"]["source"] == "train.jsonl"
    assert recipe["data"]["system_prompt"] == "/no_think Use <b>1</b>"
    assert recipe["rewards"][0]["name"] == "own.py:short"
    assert recipe["output"]["dir"] == "one"
    assert json.loads(files["eval.json"]) == BOTH
    assert b"hf download me/adder --local-dir adder\ngspo-lite run adder/recipe.yaml" in files["report.html"]


def test_completions_go_up_when_asked_for(run):
    files = sent(run, texts=True)
    assert sorted(files) == sorted([*WEIGHTS, *MADE, "completions.jsonl", "eval_samples.jsonl"])
    for name in ("report.html", "report.md", "eval_samples.jsonl", "completions.jsonl"):
        assert TEXT.encode() in files[name], name


def test_the_card_says_to_programs_what_the_model_is(run):
    head = head_of(sent(run, license="mit", languages=("en", "de")))
    (index,) = head.pop("model-index")
    assert head == {
        "base_model": "org/base", "language": ["en", "de"], "library_name": "peft", "license": "mit",
        "pipeline_tag": "text-generation", "tags": ["gspo", "lora", "trl"],
    }  # fmt: skip
    (result,) = index["results"]
    assert (index["name"], result["task"]) == ("adder", {"type": "text-generation"})
    assert result["dataset"] == {"name": "train.jsonl", "type": "train.jsonl"}
    assert result["metrics"] == [
        {"type": "accuracy", "value": 0.9, "args": {"ci95": [0.87, 0.93], "n": 400},
         "name": "Greedy accuracy, 95% interval 87% to 93%, 400 held-out problems"},
        {"type": "accuracy", "value": 0.4, "args": {"ci95": [0.35, 0.45], "n": 400},
         "name": "Accuracy at the training temperature, 95% interval 35% to 45%, 400 held-out problems"},
    ]  # fmt: skip


def test_the_hubs_own_client_reads_the_results_from_the_card(run):
    from huggingface_hub import ModelCard

    card = ModelCard(sent(run)["README.md"].decode())
    assert [(one.metric_value, one.metric_args["n"]) for one in card.data.eval_results] == [(0.9, 400), (0.4, 400)]
    assert '\nmodel = AutoPeftModelForCausalLM.from_pretrained("me/adder")\n' in card.text


@pytest.mark.parametrize(
    ("source", "named", "trained_on", "language"),
    [
        ("openai/gsm8k", {"name": "gsm8k", "type": "openai/gsm8k"}, ["openai/gsm8k"], None),
        ("arithmetic", {"name": "arithmetic, a task of gspo-lite", "type": "arithmetic"}, None, ["en"]),
    ],
)
def test_data_that_others_have_is_named_with_subset_and_split(run, source, named, trained_on, language):
    change(run, "/home/jane/data/train.jsonl\n  subset: null", f"{source}\n  subset: main")
    head = head_of(sent(run))
    assert (head.get("datasets"), head.get("language")) == (trained_on, language)
    assert head["model-index"][0]["results"][0]["dataset"] == {**named, "config": "main", "split": "test"}


def test_where_accuracy_was_not_measured_there_are_no_results(run):
    unmeasured = dict.fromkeys(("accuracy", "ci95", "sampled_accuracy", "sampled_ci95", "lenient_accuracy"))
    run_folder.write_json(run / "eval.json", {phase: {**figures, **unmeasured} for phase, figures in BOTH.items()})
    assert "model-index" not in head_of(sent(run))


def test_a_whole_model_is_not_called_an_adapter(run):
    change(run, "lora: {rank: 8}", "lora: {rank: 8}, full_finetuning: true")
    (run / "adapter" / "adapter_config.json").rename(run / "adapter" / "config.json")
    files = sent(run)
    head, text = head_of(files), files["README.md"].decode()
    assert (head["library_name"], head["tags"]) == ("transformers", ["gspo", "trl"])
    assert "All weights of `org/base`, trained" in text
    assert '\nmodel = AutoModelForCausalLM.from_pretrained("me/adder")\n' in text
    assert "adapter_config.json" not in files


@pytest.mark.parametrize("place", ["adapter", "checkpoints/checkpoint-8"])
def test_a_model_that_reads_images_is_loaded_by_another_class(run, place):
    (run / place / "preprocessor_config.json").write_text("{}")
    files = sent(run if place == "adapter" else run / place)
    assert head_of(files)["pipeline_tag"] == "image-text-to-text"
    assert b'AutoModelForImageTextToText.from_pretrained("me/adder")' in files["README.md"]


def test_a_checkpoint_does_not_claim_the_figures_of_later_weights(run):
    files = sent(run / "checkpoints" / "checkpoint-8")
    assert sorted(files) == sorted([*WEIGHTS, *MADE])
    assert list(json.loads(files["eval.json"])) == ["before"]
    assert "model-index" not in head_of(files)
    assert b"trained for 8 steps" in files["README.md"]


def test_a_base_model_of_this_machine_must_be_named(run, tmp_path):
    local = tmp_path / "models" / "base"
    change(run, "org/base", str(local))
    save_config(run / "adapter", local)
    with pytest.raises(UsageError, match="is on this machine only, so nobody else could load the adapter"):
        sent(run)
    files = sent(run, base="org/published")
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "org/published"
    assert head_of(files)["base_model"] == "org/published"
    assert yaml.safe_load(files["recipe.yaml"])["model"]["name"] == "org/published"


def test_the_twin_that_unsloth_loaded_is_the_base(run):
    save_config(run / "adapter", "unsloth/base-unsloth-bnb-4bit")
    files = sent(run)
    assert head_of(files)["base_model"] == "unsloth/base-unsloth-bnb-4bit"
    assert yaml.safe_load(files["recipe.yaml"])["model"]["name"] == "org/base"


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"repository": "adder"}, "--to `adder` is not the name of a repository: its owner is missing"),
        ({"repository": "me/../adder"}, "--to `me/../adder` is not the name of a repository"),
        ({"repository": "me/adder", "base": "/models/base"}, "--base `/models/base` is not the name of a repository"),
    ],
)
def test_a_wrong_name_is_refused_before_anything_is_read(tmp_path, wishes, said):
    with pytest.raises(UsageError) as refused:
        publication.trained(tmp_path, publication.Wishes(**wishes))
    assert refused.value.message.startswith(said)


@pytest.mark.parametrize("place", [".", "run/adapter", "nowhere"])
def test_only_a_run_or_a_checkpoint_can_be_pushed(run, tmp_path, place):
    with pytest.raises(UsageError, match="is not a run folder or a checkpoint of one"):
        sent(tmp_path / place)


def test_an_adapter_that_cannot_be_read_is_refused(run):
    (run / "adapter" / "adapter_config.json").unlink()
    with pytest.raises(UsageError, match="so it holds no adapter"):
        sent(run)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/jane/data/train.jsonl", "train.jsonl"),
        ("~/data/train.jsonl", "train.jsonl"),
        ("/mnt/c/Users/Jane Doe/my data/x.jsonl", "x.jsonl"),
        ("/home/jane/rewards.py:short", "rewards.py:short"),
        ("/data/*.jsonl", "*.jsonl"),
        ("/home/jane/model/", "model"),
        ("no file `/home/jane/x y`, or /tmp/z", "no file `x y`, or z"),
        ("/no_think", "/no_think"),
        ("/no_think In <b></b>, 1/2 or and/or", "/no_think In <b></b>, 1/2 or and/or"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("runs/one/adapter", "runs/one/adapter"),
        ("./data/x.jsonl", "./data/x.jsonl"),
        (r"\d+/\d+/\d+", r"\d+/\d+/\d+"),
    ],
)
def test_folders_of_this_machine_are_cut_off_and_other_slashes_are_not(text, left):
    assert without_folders(text) == left


def on(hub, cwd, token=TOKEN):
    """The environment of a user who is logged in to a hub; without one nothing listens at its address."""
    address = hub.address if hub else "http://127.0.0.1:9"
    names = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(cwd / "hf"), "HF_TOKEN": token}
    return {**os.environ, **names}


def gspo(*words, cwd, hub=None, token=TOKEN):
    """Run the command line as a user would."""
    command = [sys.executable, "-m", "gspo_lite", *words]
    return subprocess.run(command, cwd=cwd, env=on(hub, cwd, token), capture_output=True, text=True, timeout=200)


@pytest.fixture
def hub():
    with running_hub() as found:
        found.add(
            "org/base", {"README.md": b"---\nlicense: other\nlicense_name: mine\nlicense_link: https://x.y\n---\n"}
        )
        found.datasets["org/sums"] = {"language": ["en", "fr"]}
        found.writers.add(TOKEN)
        yield found


def test_a_push_makes_a_private_repository_and_asks_the_hub_what_it_knows(run, tmp_path, hub):
    change(run, "/home/jane/data/train.jsonl", "org/sums")
    done = gspo("push", "run", "--to", "me/adder", cwd=tmp_path, hub=hub)
    assert (done.returncode, done.stdout) == (0, f"{hub.address}/me/adder\n"), done.stderr
    assert done.stderr == "sent     11 files; the repository is private, its card says how to load it\n"
    made = hub.repositories["me/adder"]
    assert made["private"] is True
    assert sorted(made["files"]) == sorted([*WEIGHTS, *MADE])
    head = head_of(made["files"])
    assert (head["license"], head["license_name"], head["license_link"]) == ("other", "mine", "https://x.y")
    assert head["language"] == ["en", "fr"]
    again = gspo("push", "run", "--to", "me/adder", "--public", "--license", "mit", cwd=tmp_path, hub=hub)
    assert "the repository is private" in again.stderr  # a flag does not change who sees what was there
    assert head_of(made["files"])["license"] == "mit"
    assert "license_name" not in head_of(made["files"])


def test_a_public_repository_is_asked_for(run, tmp_path, hub):
    done = gspo("push", "run", "--to", "me/open", "--public", cwd=tmp_path, hub=hub)
    assert "the repository is public" in done.stderr
    assert hub.repositories["me/open"]["private"] is False


def test_a_dry_run_shows_everything_and_asks_nobody(run, tmp_path, hub):
    done = gspo("push", "run", "--to", "me/adder", "--dry-run", cwd=tmp_path, hub=hub, token="")
    assert done.returncode == 0, done.stderr
    listed, head = done.stdout.split("---\n")
    assert [line.split()[-1] for line in listed.splitlines()] == [*WEIGHTS, *MADE]
    assert yaml.safe_load(head)["base_model"] == "org/base"
    assert done.stderr == (
        "these 11 files would go to me/adder, private if it is new\nstays here: checkpoints/, completions.jsonl, "
        "environment.json, eval_samples.jsonl, events.jsonl, metrics.jsonl\n"
        "nothing was sent yet: log in once by `hf auth login`, then leave out --dry-run\n"
    )
    assert hub.seen == []


def test_what_the_hub_refuses_is_said_with_a_remedy(run, tmp_path, hub):
    cases = [
        ({"token": "", "hub": hub}, [], 3, "there is no login for the hub"),
        ({}, [], 3, "the hub cannot be reached"),
        ({"token": "hf_" + "x" * 20, "hub": hub}, [], 2, "the hub refuses `me/x`: "),
        ({"hub": hub}, ["--base", "org/gone"], 2, "the hub refuses the base model `org/gone`: "),
        ({"hub": hub}, ["--license", "none-such"], 2, "refuses `me/x`: Invalid metadata in README.md. - license"),
        ({"hub": hub}, ["--token", TOKEN], 2, "Usage: "),  # others on the machine could read it there
    ]
    for where, words, code, said in cases:
        done = gspo("push", "run", "--to", "me/x", *words, cwd=tmp_path, **where)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert said in done.stderr.splitlines()[0]
        assert "hint: " in done.stderr or "--token" in words
        assert "hf_" not in done.stderr
    assert hub.repositories["me/x"]["files"] == {}


LOADED = """
import sys, torch
from peft import AutoPeftModelForCausalLM, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base, adapter = sys.argv[1:]
pushed = AutoPeftModelForCausalLM.from_pretrained("me/adder")
here = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
ids = AutoTokenizer.from_pretrained("me/adder")("What is 12 + 30?", return_tensors="pt").input_ids
with torch.no_grad():
    found, wanted = pushed(ids).logits, here(ids).logits
    with here.disable_adapter():
        untrained = here(ids).logits
print(torch.equal(found, wanted), torch.equal(found, untrained), pushed.peft_config["default"].base_model_name_or_path)
"""


@pytest.mark.slow
def test_a_pushed_run_loads_by_its_name(tmp_path, hub, starter):
    hub.add("org/starter", {path.name: path.read_bytes() for path in starter.iterdir() if path.is_file()})
    quick = ["training.max_steps=4", "training.learning_rate=1e-3", "data.limit=64", "data.eval.limit=16"]
    sets = [word for one in quick for word in ("--set", one)]
    trained = gspo("run", "quickstart", "--output", "run", *sets, cwd=tmp_path, hub=hub)
    assert trained.returncode == 0, trained.stderr
    done = gspo("push", "run", "--to", "me/adder", "--base", "org/starter", cwd=tmp_path, hub=hub)
    assert done.returncode == 0, done.stderr
    for name, data in hub.repositories["me/adder"]["files"].items():
        assert str(tmp_path).encode() not in data, name
        assert str(Path.home()).encode() not in data, name
    command = [sys.executable, "-c", LOADED, str(starter), str(tmp_path / "run" / "adapter")]
    loaded = subprocess.run(command, env=on(hub, tmp_path), capture_output=True, text=True, timeout=200)
    assert loaded.stdout.splitlines()[-1:] == ["True False org/starter"], loaded.stderr
