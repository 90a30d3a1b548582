"""Small results folders and a trained trial, as the tests of results and inspection make them."""

from tests.inspection.conftest import trained, trial  # noqa: F401  (fixtures)
from tests.results.conftest import *  # noqa: F403  (fixtures)
