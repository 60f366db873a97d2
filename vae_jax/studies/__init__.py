"""What people do with a trained VAE. A study is one module here that has a `STUDY`; its function is for notebooks.

`vae_jax.studies.variation(model, images, strength=0.2, count=10, seed=0)` gives the arrays that the command
`--mode=study --study=variation` draws, measures and keeps.
"""

import importlib
import pkgutil

from vae_jax.studies.study import Study


def _found() -> dict[str, Study]:
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    return {module.STUDY.name: module.STUDY for module in modules if hasattr(module, "STUDY")}


STUDIES = _found()
globals().update({name: study.function for name, study in STUDIES.items()})
