"""What the kernel of a notebook shows, and what it can go on with: errors, runs, the stop button, runs after it."""

import json
import time
from pathlib import Path

import pytest

client = pytest.importorskip("jupyter_client.manager")
SETUP = """
from gspo_lite import load_recipe
from gspo_lite.run import run
QUICK = ["training.per_device_train_batch_size=8", "data.eval.limit=16", "data.limit=64", "training.save_steps=100"]
def recipe(*more):
    return load_recipe("quickstart", [*QUICK, *more]).recipe
"""
LEFT_BEHIND = """
import gc, signal, warnings
from pathlib import Path
gc.collect()
print("trainers", sum(type(one).__name__ == "GSPOTrainer" for one in gc.get_objects()))
print("handler", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
print("locks", [str(one) for one in Path().rglob(".lock")])
"""
WITHOUT_WIDGETS = "import sys; sys.modules['ipywidgets'] = None"


class Kernel:
    """A kernel with its outputs as a front end gets them."""

    def __init__(self, folder):
        self.manager, self.client = client.start_new_kernel(cwd=str(folder))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def run(self, code, stop_at=None):
        """Run a cell; press the stop button at the first output that contains `stop_at`, or after so many seconds."""
        asked = self.client.execute(code)
        if isinstance(stop_at, float):
            time.sleep(stop_at)
            self.manager.interrupt_kernel()
        outputs = []
        while True:
            message = self.client.get_iopub_msg(timeout=240)
            if message["parent_header"].get("msg_id") != asked:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status":
                if content["execution_state"] == "idle":
                    return outputs
                continue
            outputs.append((kind, content))
            if isinstance(stop_at, str) and stop_at in json.dumps(content):
                self.manager.interrupt_kernel()
                stop_at = None


def printed(outputs, stream="stdout"):
    return "".join(content["text"] for kind, content in outputs if kind == "stream" and content["name"] == stream)


def shown(outputs, kind):
    return [content["data"] for found, content in outputs if found == kind]


def error(outputs):
    (content,) = [content for kind, content in outputs if kind == "error"]
    return "\n".join(content["traceback"])


def test_an_error_of_ours_is_shown_without_a_traceback(tmp_path):
    with Kernel(tmp_path) as kernel:
        kernel.run(SETUP)
        assert error(kernel.run("recipe('training.max_step=4')")).startswith(
            "RecipeError: --set training.max_step=4: `training.max_step`: unknown key; did you mean `max_steps`?"
        )
        kernel.run("from pathlib import Path\nPath('runs/quickstart').mkdir(parents=True)")
        kernel.run("[Path('runs/quickstart', name).touch() for name in ('recipe.yaml', 'environment.json')]")
        assert error(kernel.run("run(recipe())")) == (
            "UsageError: `output.dir` `runs/quickstart` already contains a run; nothing was changed\n"
            "hint: set output.if_exists to resume or overwrite, or output.dir to another folder"
        )


@pytest.mark.slow
def test_a_run_is_shown_stopped_and_continued_in_one_kernel(tmp_path, starter):
    with Kernel(tmp_path) as kernel:
        kernel.run(SETUP + WITHOUT_WIDGETS)
        first = kernel.run("result = run(recipe('training.max_steps=4'))")
        assert {content["name"] for kind, content in first if kind == "stream"} == {"stdout"}
        assert {kind for kind, _ in first} == {"execute_input", "stream", "display_data", "update_display_data"}
        assert printed(first).startswith("load     libraries, data and model ...\n")
        titles = [one["text/plain"].split()[0] for one in shown(first, "display_data")]
        assert titles == ["answering", "training", "answering"]
        assert "training 4/4  reward" in [one["text/plain"].strip()[:20] for one in shown(first, "update_display_data")]

        (result,) = shown(kernel.run("result"), "execute_result")
        assert result["text/plain"].lstrip().startswith("Held-out accuracy")
        assert "data:image/png;base64," in result["text/html"]
        assert 'sandbox="allow-scripts"' in result["text/html"]
        assert "&lt;!doctype html&gt;" in result["text/html"]

        long = "recipe('training.max_steps=24', 'output.dir=runs/long')"
        stopped = kernel.run(f"run({long})", stop_at="/24  reward")
        assert error(stopped) == "Interrupted"
        assert "continue from it with --resume, in Python resume=True" in printed(stopped)
        assert printed(kernel.run(LEFT_BEHIND)) == "trainers 0\nhandler True\nlocks []\n"

        again = kernel.run(f"result = run({long}, resume=True)")
        assert "resume   from step " in printed(again)
        assert printed(stopped + again, "stderr") == ""
        assert printed(kernel.run(LEFT_BEHIND)) == "trainers 0\nhandler True\nlocks []\n"
        warned = kernel.run("import warnings\nwarnings.warn('of the user')")
        assert "of the user" in printed(warned, "stderr")
    lines = (tmp_path / "runs" / "long" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 25))


@pytest.mark.slow
def test_a_run_stopped_while_it_imports_can_be_started_again(tmp_path, starter):
    with Kernel(tmp_path) as kernel:
        kernel.run(SETUP)
        assert error(kernel.run("run(recipe('training.max_steps=1'))", stop_at=2.0)) == "Interrupted"
        assert not (tmp_path / "runs").exists()
        assert shown(kernel.run("run(recipe('training.max_steps=1'))"), "execute_result")


@pytest.mark.slow
def test_an_error_in_a_reward_of_a_cell_shows_its_line(tmp_path, starter):
    with Kernel(tmp_path) as kernel:
        kernel.run(SETUP + "def numbers(completions, **_):\n    return [int(c[0]['content']) for c in completions]\n")
        said = error(kernel.run("run(recipe(\"rewards=[{name: '__main__:numbers'}]\"))"))
    assert "RewardError: reward `numbers` failed at row 0: ValueError" in said
    assert "    return [int(c[0]['content']) for c in completions]" in said
    assert str(Path(__file__).parent.parent) not in said
