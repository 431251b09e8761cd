"""Run folders with a minimal config.json, for tests that need no more."""

from core.run import run_folder
from core.settings.recipes import RECIPES
from core.settings.settings import Settings


def made(runs_dir, name, **config):
    """A run folder with a minimal config.json."""
    folder = run_folder.create(runs_dir, name)
    settings = {field: getattr(RECIPES["debug"], field) for field in Settings.__dataclass_fields__}
    run_folder.write_config(folder, {"run": name, "settings": settings, "data": {"title": "shapes10"}} | config)
    run_folder.point_latest(runs_dir, name)
    return folder
