"""The run folder on disk: which file holds what, and that each is whole."""

import platform
import re
import tomllib
from pathlib import Path
from typing import Any

import tomli_w
import torch
from torch import Tensor

from vael.data.schema import Schema
from vael.errors import DamagedFile, RecipeError, WriteError
from vael.files import (
    Json,
    append_line,
    load_json,
    load_tensors,
    read_bytes,
    read_lines,
    rewrite_lines,
    save_json,
    save_tensors,
    sha256,
    write_bytes,
)
from vael.version import __version__

FORMAT = 1
HOME = Path("runs")


class RunFolder:
    """Paths of a run and the reading and writing of each; see docs/run-folder.md."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.recipe = self.path / "recipe.toml"
        self.schema = self.path / "schema.json"
        self.model = self.path / "model.safetensors"
        self.checkpoint = self.path / "checkpoint" / "last.safetensors"
        self.history = self.path / "history.jsonl"
        self.evaluation = self.path / "evaluation.json"
        self.figures = self.path / "figures"
        self.report = self.path / "report.html"
        self.manifest = self.path / "manifest.json"

    def __str__(self) -> str:
        return str(self.path)

    # ── starting ─────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, recipe: dict[str, Any], schema: Schema) -> None:
        """Write what was asked for and understood. Raises WriteError when a run stands here already."""
        # The manifest comes last: without it nothing was trained yet, and a kill in between leaves no dead end.
        if any(path.exists() for path in (self.manifest, self.model, self.checkpoint)):
            over = self.manifest.exists() and load_json(self.manifest).get("state") == "finished"
            remedy = "Choose" if over else "Add --resume to go on with it, or choose"
            raise WriteError(f"{self}: holds a run already. {remedy} another folder with -o.")
        save_json(self.schema, schema.to_json())
        write_bytes(self.recipe, tomli_w.dumps(recipe).encode())
        self.write_manifest("training", seed=recipe["seed"])

    def write_manifest(self, state: str, *, seed: int) -> None:
        """State of the run, and the hashes of the files that will not change any more."""
        fixed = [self.recipe, self.schema] + ([self.model] if state == "finished" else [])
        save_json(
            self.manifest,
            {
                "format": FORMAT,
                "vael": __version__,
                "torch": torch.__version__,
                "state": state,
                "seed": seed,
                "hardware": {
                    "machine": platform.machine(),
                    "system": platform.system(),
                    "threads": torch.get_num_threads(),
                },
                "files": {path.name: sha256(read_bytes(path)) for path in fixed},
            },
        )

    # ── training's keeper ────────────────────────────────────────────────────────────────────────────────────

    def keep_line(self, line: dict[str, Any]) -> None:
        append_line(self.history, line)

    def keep_checkpoint(self, tensors: dict[str, Tensor], notes: dict[str, str]) -> None:
        save_tensors(self.checkpoint, tensors, notes)

    def keep_best(self, weights: dict[str, Tensor]) -> None:
        self.evaluation.unlink(missing_ok=True)  # it speaks of the weights before
        save_tensors(self.model, weights, {"format": str(FORMAT)})

    def cut_history(self, step: int) -> None:
        """Drop a torn tail and the lines after `step`, and say where the run goes on."""
        lines = [line for line in self.lines() if (line.get("step") or line.get("resumed_at") or 0) <= step]
        rewrite_lines(self.history, [*lines, {"resumed_at": step}])

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────

    def lines(self) -> list[Json]:
        """The history, oldest first."""
        return read_lines(self.history)

    def read_manifest(self) -> Json:
        """The manifest; raises RecipeError when this is no run, DamagedFile when it is of another format."""
        if not self.recipe.exists() and not self.manifest.exists():
            raise RecipeError(f"{self}: is no run folder; it has neither manifest.json nor recipe.toml.{_runs_here()}")
        manifest = load_json(self.manifest)
        if manifest.get("format") != FORMAT:
            raise DamagedFile(
                f"{self.manifest}: has format {manifest.get('format')}, this vael reads {FORMAT}.\n"
                f"  Open the run with vael {manifest.get('vael')}, which wrote it."
            )
        return manifest

    @property
    def state(self) -> str:
        """training, finished, interrupted or failed; finished too where no manifest tells: nothing can be resumed."""
        try:
            return str(self.read_manifest()["state"])
        except DamagedFile:
            return "finished"

    def read(self) -> tuple[dict[str, Any], Schema]:
        """Recipe and schema, verified. Raises DamagedFile naming the file that is not what was written."""
        manifest = self.read_manifest()
        for path in (self.recipe, self.schema, self.model):
            claimed = manifest["files"].get(path.name)
            if claimed and sha256(read_bytes(path)) != claimed:
                raise DamagedFile(
                    f"{path}: is not the file this run finished with; it is damaged, or was edited.\n"
                    f"  Put the original back, or fit again with the change you want."
                )
        try:
            recipe = tomllib.loads(read_bytes(self.recipe).decode())
        except ValueError as error:
            raise DamagedFile(f"{self.recipe}: is not valid TOML ({error}).") from error
        return recipe, Schema.from_json(load_json(self.schema))

    def weights(self) -> dict[str, Tensor]:
        """The best weights so far. Raises RecipeError when there are none yet, DamagedFile when they are damaged."""
        if not self.model.exists():
            failed = self.read_manifest()["state"] == "failed"
            raise RecipeError(
                f"{self}: has no weights yet; "
                + (
                    "training broke before its first evaluation. Fit again with a lower --learning-rate."
                    if failed
                    else f"it was stopped before its first evaluation. Go on with: vael fit --resume -o {self}"
                )
            )
        return load_tensors(self.model)[0]


def next_folder(name: str, home: Path = HOME) -> Path:
    """The first free `runs/<name>-1`, -2, …"""
    stem = re.sub(r"[^A-Za-z0-9_]+", "-", Path(name).name.split(".")[0]).strip("-") or "run"
    number = 1
    while (home / f"{stem}-{number}").exists():
        number += 1
    return home / f"{stem}-{number}"


def latest_folder(home: Path = HOME, *, unfinished: bool = False) -> Path:
    """The run that was started last and has weights; or, `unfinished`, that can be resumed.

    Raises RecipeError when there is none.
    """
    folders = [path.parent for path in sorted(home.glob("*/recipe.toml"), key=lambda path: path.stat().st_mtime)]
    if unfinished:
        fitting = [folder for folder in folders if RunFolder(folder).state != "finished"]
    else:
        fitting = [folder for folder in folders if RunFolder(folder).model.exists()]
    if not fitting:
        wanted = "no unfinished run" if unfinished else "no run"
        raise RecipeError(f"{wanted} in {home}/: fit one first, for instance `vael fit digits`, or name its folder.")
    return fitting[-1]


def _runs_here() -> str:
    names = sorted(path.parent.name for path in HOME.glob("*/recipe.toml"))
    return f"\n  Runs here: {', '.join(names[:10])}." if names else "\n  Fit one first, for instance `vael fit digits`."
