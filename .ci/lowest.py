"""Prints the lower end of each range in pyproject.toml, `name==version`, as constraints for pip."""

import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
groups = project.get("optional-dependencies", {})
for requirement in [*project["dependencies"], *groups["dev"]]:
    print(requirement.replace(">=", "=="))
