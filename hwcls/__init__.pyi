"""The public names for type checkers; __init__.py imports each when it is first used."""

from hwcls.api.best import Best as Best
from hwcls.api.model import Model as Model
from hwcls.api.model import load_model as load_model
from hwcls.api.predictions import Predictions as Predictions
from hwcls.api.results import Results as Results
from hwcls.api.results import load_results as load_results
from hwcls.errors import UserError as UserError
from hwcls.sweep.from_python import sweep as sweep

__version__: str
__all__: list[str]
