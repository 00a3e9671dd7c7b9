"""Compose verl's configuration as its `main_ppo` would, with Hydra alone on the path.

Standard input: {"folder": of verl's YAML files, "command_lines": [[override, ...], ...]}. Standard output: {"defaults":
the whole configuration without overrides, "composed": for each command line, the values of the keys it sets}.
Hydra ends the process at a key that is not in verl's configuration.
"""

import json
import sys

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

asked = json.load(sys.stdin)


def value_of(config, override: str):
    value = OmegaConf.select(config, override.partition("=")[0], throw_on_missing=True)
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


with initialize_config_dir(asked["folder"], version_base=None):
    defaults = OmegaConf.to_container(compose("ppo_trainer"), resolve=False)
    configurations = [(compose("ppo_trainer", overrides), overrides) for overrides in asked["command_lines"]]
composed = [[value_of(config, one) for one in overrides] for config, overrides in configurations]
print(json.dumps({"defaults": defaults, "composed": composed}))
