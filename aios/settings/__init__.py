"""Settings: one TOML file, `AIOS_…` variables, `--data`; read once, checked, then still.

`sections` is all that there is to decide, `values` the kinds of values in it, `fields` what the sections are asked about
themselves; `reading` makes `Settings` of file and variables, `mistakes` says what is wrong with them. The wiring of the two
processes and the command line call `load`.
"""

from aios.settings.reading import load
from aios.settings.sections import Settings

__all__ = ["Settings", "load"]
