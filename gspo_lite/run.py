"""One run, told top to bottom: a recipe in, a trained adapter and a report out.

    backend -> data -> rewards -> model -> evaluate before -> train -> evaluate after -> adapter, report, model card

A recipe with a `warmup` runs it after `evaluate before`, and evaluates again after it. Each step of `run` is one call
into a lower floor; nothing here depends on backend or algorithm.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gspo_lite.checked_recipe import refuse
from gspo_lite.data.prompts import shared_system
from gspo_lite.evaluation import asked_while_training, evaluate, evaluate_greedy
from gspo_lite.load_parts import Parts, custom_code, load_parts, offline_if_local, with_adapter
from gspo_lite.models.libraries import unused_libraries
from gspo_lite.recipe.dump import to_yaml
from gspo_lite.recipe.schema import Recipe
from gspo_lite.report import write_reports
from gspo_lite.report.inline import inline
from gspo_lite.report.summary import final_summary
from gspo_lite.system import processes, run_folder
from gspo_lite.system.clock import Clock
from gspo_lite.system.environment import environment, peak_memory_gib, training_versions
from gspo_lite.system.figures import share
from gspo_lite.system.lock import held
from gspo_lite.system.memory import memory_freed
from gspo_lite.system.progress import live
from gspo_lite.system.quiet import quietly
from gspo_lite.system.say import say
from gspo_lite.system.stopping import deferred, listening
from gspo_lite.training.checkpoint.differences import refuse_changes, refuse_other_code, version_changes
from gspo_lite.training.checkpoint.manifest import Checkpoint, newest_complete


@dataclass(frozen=True)
class RunResult:
    """The folder of a run and its held-out figures, as in eval.json.

    `print(result)` shows the final summary; a notebook shows figures, curves and the report for `result` alone.
    """

    folder: Path
    evaluation: dict[str, Any]
    summary: str

    def __str__(self) -> str:
        return self.summary

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """Return what a notebook shows, by type of content (IPython's protocol)."""
        html = inline(self.folder)
        return {"text/plain": self.summary} | ({"text/html": html} if html else {})


@quietly
@memory_freed
def run(
    recipe: Recipe, *, resume: bool = False, force: bool = False, command: str | None = None, own_process: bool = False
) -> RunResult:
    """Train according to the recipe, evaluate before and after on held-out problems, and write the run folder.

    Args:
        resume: continue from the newest checkpoint in the run folder, as `output.if_exists: resume` does.
        force: resume even if the recipe differs in fields that affect the remaining steps.
        command: the command line, recorded in environment.json.
        own_process: whether this process runs nothing else, so that libraries this run does not use can be hidden.

    Raises:
        UsageError: the recipe, its data, rewards or model cannot be used, or another run uses the folder.
            MachineError: this machine lacks something. Both leave an earlier run folder unchanged.
        RunError: training began but could not continue; the run folder keeps what was written.
    """
    refuse(recipe)
    processes.refuse_sharded()
    offline_if_local(recipe)
    recipe = with_adapter(recipe)
    folder, resume = Path(recipe.output.dir), resume or recipe.output.if_exists == "resume"
    if processes.is_main():
        run_folder.refuse_existing(folder, "resume" if resume else recipe.output.if_exists)
    clock = Clock()

    with held(folder), listening():
        checkpoint = resume_point(folder, recipe, force) if resume else None
        say("load     libraries, data and model ...")
        with clock("load"), deferred():  # it imports all over, and a library cut in two cannot be imported again
            parts = load_parts(recipe, unused_libraries(recipe) if own_process else ())
        if checkpoint is not None:
            refuse_other_code(checkpoint, custom_code(parts), force)
        if processes.is_main():
            begin(folder, parts, command, resume, clock)
        with end_noted(folder):
            with clock("evaluate before"):
                before = measure(folder, "before", parts, resume)
            if recipe.warmup is not None:
                with clock("warm up"):
                    warm_up(folder, parts)
                with clock("evaluate warmed"):
                    measure(folder, "warmed", parts, resume)
            with clock("load"):
                trainer = trainer_of(folder, parts)
            train(trainer, folder, recipe, checkpoint, resume)
            with clock("evaluate after"):
                after = measure(folder, "after", parts, step=trainer.kept_step())
            trainer.save_model(str(folder / run_folder.ADAPTER))
            if processes.is_main():
                finish(folder)
            processes.wait()
        return RunResult(folder, {"before": before, "after": after}, final_summary(folder))


def resume_point(folder: Path, recipe: Recipe, force: bool) -> Checkpoint | None:
    """Return the newest complete checkpoint, reporting incomplete ones and changes of recipe and versions."""
    found = newest_complete(folder / run_folder.CHECKPOINTS)
    for line in found.skipped:
        say(f"resume   {line}")
    if found.checkpoint is None:
        say("resume   no complete checkpoint; training starts at step 1")
        return None
    for line in refuse_changes(found.checkpoint, recipe.model_dump(mode="json"), force):
        say(f"resume   {line}")
    for line in version_changes(found.checkpoint, training_versions()):
        say(f"warning: {line}")
    say(f"resume   from step {found.checkpoint.step}")
    return found.checkpoint


def begin(folder: Path, parts: Parts, command: str | None, resume: bool, clock: Clock) -> None:
    """Open the run folder, record the recipe and environment in it, and report what was loaded."""
    run_folder.open_folder(folder, keep=resume)
    comment = (
        f"The resolved recipe of this run. To repeat it: gspo-lite run {folder / run_folder.RECIPE} --output FOLDER"
    )
    run_folder.write_text(folder / run_folder.RECIPE, to_yaml(parts.recipe, comment))
    facts = environment(parts.loaded.backend, parts.engine.name, command) | custom_code(parts)
    facts[run_folder.SYSTEM_MESSAGE] = shared_system(row["prompt"] for row in parts.problems.train)
    if resume and (folder / run_folder.ENVIRONMENT).is_file():
        first = run_folder.read_json(folder / run_folder.ENVIRONMENT)
        facts["resumed"] = [*first.get("resumed", []), facts["started"]]
        facts["started"] = first["started"]
        clock.add(first.get("seconds", {}))
    run_folder.write_json(folder / run_folder.ENVIRONMENT, facts)
    clock.keep_in(folder / run_folder.ENVIRONMENT)
    recipe, problems = parts.recipe, parts.problems
    say(f"model    {recipe.model.name}: {'; '.join(parts.loaded.notes)}")
    if recipe.model.trust_remote_code:
        say("         runs Python code that comes with the model (model.trust_remote_code)")
    say(f"data     {recipe.data.source}: {len(problems.train)} problems to train on, {len(problems.held_out)} held out")
    for note in problems.notes:
        say(f"         {note}")
    if recipe.plays:
        say(f"tools    {', '.join([*(tool.name for tool in recipe.tools), *recipe.environments.values()])}")
    say(f"machine  {facts['hardware']}; completions by {parts.engine.title}{parts.args.correction}")
    if (factor := recipe.generation.sample_factor) > 1:
        say(f"         {factor} times a rollout's prompts in one call: groups with variance first, the rest is dropped")
    if processes.count() > 1:
        together = recipe.training.rollout_size * processes.count()
        say(f"         {processes.count()} processes (DDP): {together} completions a rollout in total")


def measure(folder: Path, phase: str, parts: Parts, resume: bool = False, step: int | None = None) -> dict[str, Any]:
    """Return the figures of a phase, which the first process evaluates while the others wait.

    Args:
        step: the optimizer step whose weights are measured, where it is not clear from the phase.
    """
    if processes.is_main():
        evaluate_phase(folder, phase, parts, resume, step)
    processes.wait()
    figures: dict[str, Any] = run_folder.read_json(folder / run_folder.EVAL)[phase]
    return figures


def evaluate_phase(folder: Path, phase: str, parts: Parts, resume: bool, step: int | None) -> None:
    """Evaluate on the held-out problems and record figures and completions; a resumed run keeps earlier figures."""
    figures = run_folder.read_json(folder / run_folder.EVAL) if (folder / run_folder.EVAL).is_file() else {}
    if resume and phase in figures:
        return
    loaded, recipe, held_out = parts.loaded, parts.recipe, parts.problems.held_out
    if step is not None:
        say(f"kept     step {step}, the best on held-out problems")
    say(f"{phase:8} answering {len(held_out)} held-out problems ...")
    with live("answering", 2 * len(held_out), ends=False) as view:
        model, processing, rewards = loaded.model, loaded.processing_class, parts.rewards
        result = evaluate(model, processing, held_out, recipe, rewards, lambda done, _: view.update(done), parts.play)
    say(f"         accuracy {share(result.figures['accuracy'])}, sampled {share(result.figures['sampled_accuracy'])}")
    if "accuracy_is" in result.figures:
        say(f"         accuracy is {result.figures['accuracy_is']}")
    run_folder.drop_phase(folder / run_folder.EVAL_SAMPLES, phase)
    run_folder.append_jsonl(folder / run_folder.EVAL_SAMPLES, ({"phase": phase, **row} for row in result.samples))
    measured = result.figures if step is None else {"step": step, **result.figures}
    run_folder.write_json(folder / run_folder.EVAL, {**figures, phase: measured})


def warm_up(folder: Path, parts: Parts) -> None:
    """Train on worked examples before RL; a resumed run loads their result."""
    from gspo_lite.training import warmup  # imports trl, which must not come before unsloth

    model, processing = parts.loaded.model, parts.loaded.processing_class
    tools_of = parts.play.tools_of if parts.play else None
    warmup.warm_up(parts.recipe, folder, model, processing, parts.problems, parts.args, say, tools_of)


def trainer_of(folder: Path, parts: Parts) -> Any:
    """Return the trainer of a run."""
    from gspo_lite.training import build  # imports trl, which must not come before unsloth

    recipe, loaded, problems = parts.recipe, parts.loaded, parts.problems
    asked = asked_while_training(problems.held_out, recipe)

    def measure_asked() -> dict[str, Any]:
        model, processing, rewards = loaded.model, loaded.processing_class, parts.rewards
        return evaluate_greedy(model, processing, asked, recipe, rewards, play=parts.play).figures

    return build.build_trainer(
        recipe,
        folder,
        loaded.model,
        loaded.processing_class,
        parts.rewards,
        problems.train,
        parts.args,
        tools=parts.tools,
        code=custom_code(parts),
        held_out=asked,
        measure=None if asked is None else measure_asked,
    )


def train(trainer: Any, folder: Path, recipe: Recipe, checkpoint: Checkpoint | None, resume: bool) -> None:
    """Take all optimizer steps, from a checkpoint if there is one."""
    from gspo_lite.training import build

    rules = f"; {trainer.row_rules}" if trainer.row_rules else ""
    say(f"train    {recipe.objective.algorithm}, {recipe.training.max_steps} steps{rules}")
    build.train(trainer, folder, checkpoint, resume=resume)


def finish(folder: Path) -> None:
    """Record the seconds of training and the peak memory, and write the report and the model card."""
    facts = run_folder.read_json(folder / run_folder.ENVIRONMENT)
    facts["seconds"]["train"] = round(run_folder.read_jsonl(folder / run_folder.METRICS)[-1].get("seconds", 0.0), 1)
    facts["peak_memory_gib"] = round(peak_memory_gib(), 2)
    run_folder.write_json(folder / run_folder.ENVIRONMENT, facts)
    write_reports(folder)


@contextmanager
def end_noted(folder: Path) -> Iterator[None]:
    """Record the cause of an early end, and report on the steps so far."""
    try:
        yield
    except BaseException as error:
        steps = run_folder.read_jsonl(folder / run_folder.METRICS)
        own = "Ctrl-C" if isinstance(error, KeyboardInterrupt) else getattr(error, "message", None)
        why = own or f"{type(error).__name__} {error}".strip()
        run_folder.note_event(folder, steps[-1]["step"] if steps else 0, run_folder.STOPPED, why)
        if steps and processes.is_main():
            with suppress(Exception):  # such as a full disk; it must not hide the cause
                say(f"report   {write_reports(folder)} shows the run so far")
        raise
