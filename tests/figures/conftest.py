"""Small results folders, as the tests of the results package write them."""

from tests.results.conftest import *  # noqa: F403  (fixtures)
